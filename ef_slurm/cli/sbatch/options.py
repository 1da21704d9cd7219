"""Every option that ef-sbatch knows: its own, and those of sbatch (`sbatch_table`)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ef_slurm.cli.common.options import Option, OptionGroup, Options
from ef_slurm.cli.sbatch import own_options
from ef_slurm.cli.sbatch.sbatch_table import SBATCH, Handling

LAUNCH = own_options.LAUNCH.options
"""How the command is started; `launch_options` says what each one sets."""

LAUNCH_GROUPS = (frozenset({"conda-env", "venv", "container-image"}), frozenset({"module"}))
"""Of these the command line replaces all of a group that the script or the site has."""

OWN = tuple(option for group in own_options.OWN_GROUPS for option in group.options)
"""ef-slurm's own options; an `#EF` line may hold any of them but those in `NOT_IN_SCRIPTS`."""

_OWN_NAMES = frozenset(option.name for option in OWN)

TREATED = MappingProxyType({one.option.name: one for one in SBATCH})
"""What becomes of each of sbatch's options, by name."""


def _of(*handlings: Handling) -> tuple[Option, ...]:
    return tuple(one.option for one in SBATCH if one.handling in handlings)


ANSWERED = _of(Handling.READ, Handling.BOUND)
"""sbatch's options that ef-sbatch understands and acts upon."""

PASSED = _of(Handling.PASSED)
"""sbatch's options that go to sbatch as they are."""

PASSED_NAMES = frozenset(option.name for option in PASSED)

FOR_NODES_AND_GPUS = tuple(
    TREATED[name].option
    for name in (
        *("cpus-per-gpu", "cpus-per-task", "mem", "mem-per-cpu", "mem-per-gpu"),
        *("constraint", "exclude", "nodelist", "nodefile"),
    )
)
"""Those that say what comes with each GPU, and which nodes a job may have."""

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        one.option.name: one.words
        for one in SBATCH
        if one.handling is Handling.REFUSED and one.option.name not in _OWN_NAMES
    }
)
"""sbatch's options that ef-slurm owns: what to use instead."""

OURS_INSTEAD: Mapping[str, str] = MappingProxyType(
    {one.option.name: one.words for one in SBATCH if one.option.name in _OWN_NAMES}
)
"""Those of which ef-sbatch has one of its own under the same name: refused on `#SBATCH` lines."""

NOT_IN_SCRIPTS = frozenset(
    {
        "help",
        "version",
        "usage",
        "test-only",
        "dry-run",
        "json",
        "config",
        "wrap",
        "parsable",
        "register",
        "continue",
        "wait",
        "wait-verdict",
    }
)
"""Options that make no sense inside a batch script."""

SLURM_OPTIONS = Options(one.option for one in SBATCH)
"""What a `#SBATCH` line may hold."""

EF_OPTIONS = Options(OWN)
"""What an `#EF` line may hold."""

ALL_OPTIONS = Options((*OWN, *(one.option for one in SBATCH if one.option.name not in _OWN_NAMES)))
"""What the command line may hold."""

GROUPS = (
    *own_options.OWN_GROUPS,
    own_options.AS_SBATCH,
    OptionGroup(
        "Options of sbatch's that bound size and nodes, or say what comes with each GPU",
        tuple(option for option in ANSWERED if option not in own_options.AS_SBATCH.options),
    ),
    OptionGroup("Options of sbatch's that pass through, see sbatch(1)", PASSED),
)
"""All that a submission may have, under the headings of help and manual."""

LAUNCH_NAMES = frozenset(option.name for option in LAUNCH)
