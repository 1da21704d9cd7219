"""Options that stand in the environment: `SBATCH_…` as sbatch reads them, `EF_SBATCH_…` for ours.

As with sbatch they count over the script's lines, and below the command line. They are written out
for sbatch, so that a job that has to be submitted again is the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ef_slurm.cli.common.options import Option, ParsedOption, Takes
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.options import OWN
from ef_slurm.cli.sbatch.sbatch_table import SBATCH, Handling

PREFIX = "EF_SBATCH_"

_NOT_HERE = frozenset({"config", "continue", "register", "dry-run", "json"})
"""Options of ours that make sense for one call only; the configuration has `EF_SLURM_CONFIG`."""

_OURS: Mapping[str, Option] = {
    f"{PREFIX}{option.name.upper().replace('-', '_')}": option
    for option in OWN
    if option.name not in _NOT_HERE
}
_SBATCHS: Mapping[str, Option] = {name: one.option for one in SBATCH for name in one.variables}


def variables_of(*, ours: bool = True) -> Mapping[str, tuple[str, ...]]:
    """The variables that are read for each option, by its name; with or without `EF_SBATCH_…`."""
    found: dict[str, tuple[str, ...]] = {}
    for variable, option in ({**_OURS, **_SBATCHS} if ours else _SBATCHS).items():
        found[option.name] = (*found.get(option.name, ()), variable)
    return found


_SCRUBBED = frozenset(_SBATCHS) | {
    "SBATCH_WAIT4SWITCH",
    *(
        f"SBATCH_{one.option.name.upper().replace('-', '_')}"
        for one in SBATCH
        if one.handling is not Handling.PASSED and one.option.name != "profile"
    ),
}
"""What sbatch does not get to see: what is read here, and what some version may read beside it."""


def environment_options(
    environment: Mapping[str, str], problems: Problems
) -> tuple[ParsedOption, ...]:
    """The options that the environment gives, in the order of the variables' names."""
    return tuple(_options(environment, problems))


def of_sbatch(options: Sequence[ParsedOption]) -> tuple[ParsedOption, ...]:
    """Those of sbatch's own variables."""
    return tuple(option for option in options if not option.where.startswith(f"${PREFIX}"))


def without_partition(
    options: Sequence[ParsedOption], partition: str
) -> tuple[tuple[ParsedOption, ...], tuple[str, ...]]:
    """The options without a partition that is not ef-slurm's, and a note of it.

    Whoever has a variable for all of their jobs means the others.
    """
    foreign = [
        option
        for option in options
        if option.option.name == "partition" and option.value != partition
    ]
    notes = tuple(
        f"{option.where}={option.value}: has no effect: ef-slurm schedules {partition!r}"
        for option in foreign
    )
    return tuple(option for option in options if option not in foreign), notes


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for sbatch, without what has been read here."""
    return {
        name: value
        for name, value in environment.items()
        if name not in _SCRUBBED and not name.startswith(PREFIX)
    }


def _options(environment: Mapping[str, str], problems: Problems) -> Iterator[ParsedOption]:
    for name in sorted(environment):
        option = _OURS.get(name) or _SBATCHS.get(name)
        if option is None:
            if name.startswith(PREFIX):
                problems.add(f"${name}: ef-sbatch has no such option, or not in the environment")
            continue
        value, where = environment[name], f"${name}"
        if option.takes is Takes.NOTHING:
            if _is_set(value):
                yield ParsedOption(option, None, where)
        else:
            optional = option.takes is Takes.OPTIONAL and not value
            yield ParsedOption(option, None if optional else value, where)


def _is_set(value: str) -> bool:
    """Whether an option without a value is given (sbatch(1), INPUT ENVIRONMENT VARIABLES).

    >>> [_is_set(value) for value in ("", "yes", "1", "0", "no")]
    [True, True, True, False, False]
    """
    number = value.strip()
    return number in ("", "yes") or (number.isdecimal() and int(number[:18]) != 0)
