"""Every option that ef-sbatch knows, and what becomes of it.

sbatch's own options as of Slurm 22.05 to 26.05 (sbatch(1)). Most pass through untouched; those that
say how many GPUs, which nodes or when are ef-slurm's to decide and are refused with what to use
instead; some mean the same as sbatch's but are answered by ef-sbatch itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ef_slurm.cli.common.options import Option, OptionGroup, Options, Takes
from ef_slurm.cli.sbatch import own_options

_NOTHING, _OPTIONAL = Takes.NOTHING, Takes.OPTIONAL

LAUNCH = own_options.LAUNCH.options
"""How the command is started; `launch_options` says what each one sets."""

LAUNCH_GROUPS = (frozenset({"conda-env", "venv", "container-image"}), frozenset({"module"}))
"""Of these the command line replaces all of a group that the script or the site has."""

OWN = tuple(option for group in own_options.OWN_GROUPS for option in group.options)
"""ef-slurm's own options; an `#EF` line may hold any of them but those in `NOT_IN_SCRIPTS`."""

ANSWERED = own_options.AS_SBATCH.options
"""sbatch's options that ef-sbatch understands and acts upon."""

PASSED = (
    Option("account", "A"),
    Option("acctg-freq"),
    Option("bb"),
    Option("bbf"),
    Option("chdir", "D"),
    Option("container"),
    Option("container-id"),
    Option("core-spec", "S"),
    Option("cpu-freq"),
    Option("delay-boot"),
    Option("error", "e"),
    Option("export"),
    Option("export-file"),
    Option("get-user-env", takes=_OPTIONAL),
    Option("gpu-bind"),
    Option("gpu-freq"),
    Option("gres-flags"),
    Option("hint"),
    Option("input", "i"),
    Option("kill-on-invalid-dep"),
    Option("licenses", "L"),
    Option("mail-type"),
    Option("mail-user"),
    Option("mcs-label"),
    Option("mem-bind"),
    Option("mem-per-cpu"),
    Option("mem-per-gpu"),
    Option("network"),
    Option("nice", takes=_OPTIONAL),
    Option("output", "o"),
    Option("power"),
    Option("propagate", takes=_OPTIONAL),
    Option("qos", "q"),
    Option("reservation"),
    Option("stepmgr", takes=_NOTHING),
    Option("thread-spec"),
    Option("tmp"),
    Option("verbose", "v", _NOTHING),
    Option("wait-all-nodes"),
    Option("wckey"),
)
"""sbatch's options that go to sbatch as they are."""

_SHARE = "ef-slurm chooses the number of GPUs so that the deadline holds; cap it with --max-gpus=N"
_NODES = "ef-slurm chooses the nodes and changes them while the job runs; leave it out"
_CPUS = "CPUs follow the GPUs; use --cpus-per-gpu=N"
_TASKS = "ef-slurm starts one torchrun per node and one rank per GPU; leave it out"
_WHEN = "ef-slurm decides when the job starts; give --deadline=WHEN"
_ONE = "ef-slurm promises one job at a time; call ef-sbatch once per run"

REFUSED: Mapping[str, tuple[Option, str]] = MappingProxyType(
    {
        option.name: (option, sentence)
        for option, sentence in (
            (Option("gpus", "G"), _SHARE),
            (Option("gpus-per-node"), _SHARE),
            (Option("gpus-per-task"), _SHARE),
            (Option("gpus-per-socket"), _SHARE),
            (Option("gres"), _SHARE + ", choose the type with --gpu-type=TYPE"),
            (Option("tres-per-task"), _SHARE),
            (Option("tres-bind"), _SHARE),
            (Option("exclusive", takes=_OPTIONAL), _SHARE),
            (Option("oversubscribe", "s", _NOTHING), _SHARE),
            (Option("overcommit", "O", _NOTHING), _SHARE),
            (Option("nodes", "N"), _NODES),
            (Option("nodelist", "w"), _NODES),
            (Option("nodefile", "F"), _NODES),
            (Option("exclude", "x"), _NODES),
            (Option("constraint", "C"), "choose the kind of node with --gpu-type=TYPE"),
            (Option("prefer"), "choose the kind of node with --gpu-type=TYPE"),
            (Option("batch"), _NODES),
            (Option("contiguous", takes=_NOTHING), _NODES),
            (Option("switches"), _NODES),
            (Option("segment"), _NODES),
            (Option("spread-job", takes=_NOTHING), _NODES),
            (Option("spread-segments", takes=_NOTHING), _NODES),
            (Option("consolidate-segments", takes=_NOTHING), _NODES),
            (Option("use-min-nodes", takes=_NOTHING), _NODES),
            (Option("no-kill", "k", _OPTIONAL), _NODES),
            (Option("reboot", takes=_NOTHING), _NODES),
            (Option("ntasks", "n"), _TASKS),
            (Option("ntasks-per-node"), _TASKS),
            (Option("tasks-per-node"), _TASKS),
            (Option("ntasks-per-core"), _TASKS),
            (Option("ntasks-per-gpu"), _TASKS),
            (Option("ntasks-per-socket"), _TASKS),
            (Option("distribution", "m"), _TASKS),
            (Option("resv-ports", takes=_OPTIONAL), _TASKS),
            (Option("cpus-per-task", "c"), _CPUS),
            (Option("mincpus"), _CPUS),
            (Option("cores-per-socket"), _CPUS),
            (Option("sockets-per-node"), _CPUS),
            (Option("threads-per-core"), _CPUS),
            (Option("extra-node-info", "B"), _CPUS),
            (Option("mem"), "memory per node changes with the GPUs; use --mem-per-gpu=SIZE"),
            (Option("hold", "H", _NOTHING), _WHEN + "; every job is held until its plan starts it"),
            (Option("priority"), _WHEN),
            (Option("time-min"), "give --time=LIMIT as the upper bound, or leave it to ef-slurm"),
            (
                Option("dependency", "d"),
                "ef-slurm cannot promise a job that waits for another; "
                "submit it when the other is done (ef-sbatch --wait)",
            ),
            (Option("array", "a"), _ONE),
            (Option("clusters", "M"), "run ef-sbatch on a login node of that cluster"),
            (Option("cluster-constraint"), "run ef-sbatch on a login node of that cluster"),
            (Option("no-requeue", takes=_NOTHING), "ef-slurm moves jobs by requeueing them"),
            (Option("signal"), "ef-slurm's training library stops and saves by itself"),
            (Option("open-mode"), "logs are always appended to, over all restarts"),
            (Option("extra"), "ef-slurm keeps it for itself; use --job-name"),
            (Option("uid"), "submit as that user"),
            (Option("gid"), "submit as that group (sg, newgrp)"),
            (Option("ignore-pbs", takes=_NOTHING), "ef-sbatch reads no #PBS lines"),
        )
    }
)
"""sbatch's options that ef-slurm owns: the option, and what to use instead."""

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

SLURM_OPTIONS = Options((*ANSWERED, *PASSED, *(option for option, _ in REFUSED.values())))
"""What a `#SBATCH` line may hold."""

EF_OPTIONS = Options(OWN)
"""What an `#EF` line may hold."""

ALL_OPTIONS = Options((*OWN, *ANSWERED, *PASSED, *(option for option, _ in REFUSED.values())))
"""What the command line may hold."""

GROUPS = (
    *own_options.OWN_GROUPS,
    own_options.AS_SBATCH,
    OptionGroup("Options of sbatch's that pass through, see sbatch(1)", PASSED),
)
"""All that a submission may have, under the headings of help and manual."""

PASSED_NAMES = frozenset(option.name for option in PASSED)
LAUNCH_NAMES = frozenset(option.name for option in LAUNCH)

SCRUBBED_VARIABLES = frozenset(f"SBATCH_{name.upper().replace('-', '_')}" for name in REFUSED) | {
    "SBATCH_ARRAY_INX",
    "SBATCH_CPUS_PER_GPU",
    "SBATCH_HINT",
    "SBATCH_MEM_PER_NODE",
    "SBATCH_PROFILE",
    "SBATCH_REQ_SWITCH",
    "SBATCH_SEGMENT_SIZE",
    "SBATCH_WAIT",
    "SLURM_HINT",
}
"""sbatch's input variables that would decide what ef-slurm decides; taken out before sbatch runs.
Others (SBATCH_ACCOUNT, SBATCH_QOS, …) keep their effect."""
