"""Every option of sbatch, and what becomes of it: one table, for the commands and for the docs.

Options as of Slurm 22.05 to 26.05 (sbatch(1)). `docs/sbatch.md` shows it; a test holds the two
together.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from ef_slurm.cli.common.options import Option, Takes
from ef_slurm.cli.sbatch.own_options import AS_SBATCH

_NOTHING, _OPTIONAL = Takes.NOTHING, Takes.OPTIONAL


class Handling(enum.Enum):
    """What becomes of an option."""

    READ = "read"  # by ef-sbatch itself, as sbatch means it or as `words` say
    BOUND = "upper bound"  # of GPUs; ef-slurm chooses within it
    PASSED = "passed on"  # to sbatch, as it is
    DROPPED = "no effect"  # accepted, and told that it means nothing here
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class SbatchOption:
    """One option of sbatch.

    Args:
        words: what it means to ef-sbatch; of one that is refused, or has no effect, why, and what
            to write instead.
        variables: of the environment, in which sbatch looks for it too.
    """

    option: Option
    handling: Handling
    words: str = ""
    variables: tuple[str, ...] = ()


_METAVARS = {
    "constraint": "FEATURES",
    "cpus-per-task": "N",
    "exclude": "NODES",
    "gpus": "[TYPE:]N",
    "gpus-per-node": "[TYPE:]N",
    "gpus-per-task": "[TYPE:]N",
    "gres": "gpu:[TYPE:]N",
    "mem": "SIZE",
    "mem-per-cpu": "SIZE",
    "mem-per-gpu": "SIZE",
    "nodefile": "FILE",
    "nodelist": "NODES",
    "nodes": "[MIN-]MAX",
    "ntasks": "N",
    "ntasks-per-gpu": "1",
    "ntasks-per-node": "N",
    "open-mode": "append",
    "tasks-per-node": "N",
}


def _row(
    handling: Handling, name: str, short: str, takes: Takes, words: str, variables: str
) -> SbatchOption:
    option = Option(name, short, takes)
    if handling in (Handling.READ, Handling.BOUND):
        ours = {one.name: one for one in AS_SBATCH.options}
        option = ours.get(name) or replace(
            option, metavar=_METAVARS[name], help=f"{words[:1].upper()}{words[1:]}."
        )
    return SbatchOption(option, handling, words, tuple(variables.split()))


def _read(
    name: str, short: str = "", words: str = "", variables: str = "", takes: Takes = Takes.VALUE
) -> SbatchOption:
    return _row(Handling.READ, name, short, takes, words, variables)


def _bound(name: str, short: str = "", words: str = "", variables: str = "") -> SbatchOption:
    return _row(Handling.BOUND, name, short, Takes.VALUE, words, variables)


def _passed(
    name: str, short: str = "", variables: str = "", takes: Takes = Takes.VALUE, words: str = ""
) -> SbatchOption:
    return _row(Handling.PASSED, name, short, takes, words, variables)


def _dropped(
    name: str, short: str, words: str, variables: str = "", takes: Takes = Takes.VALUE
) -> SbatchOption:
    return _row(Handling.DROPPED, name, short, takes, words, variables)


def _refused(
    name: str, short: str, words: str, variables: str = "", takes: Takes = Takes.VALUE
) -> SbatchOption:
    return _row(Handling.REFUSED, name, short, takes, words, variables)


_SHARE = "ef-slurm chooses the number of GPUs so that the deadline holds; cap it with --max-gpus=N"
_NODES = "ef-slurm chooses the nodes and changes them while the job runs; leave it out"
_WITHIN = f"{_NODES}, or say with --nodelist, --exclude or --constraint which may be used"
_CPUS = "CPUs follow the GPUs; use --cpus-per-gpu=N"
_TASKS = "ef-slurm starts one launcher per node, and that one rank per GPU"
_WHEN = "ef-slurm decides when the job starts; give --deadline=WHEN"
_WHOLE = "Slurm would give the job all GPUs of its nodes at every size; leave it out"
_TO_SRUN = "and to srun, for the ranks"
_ALONE = "a promise counts on GPUs that are the job's alone; leave it out"

SBATCH: tuple[SbatchOption, ...] = (
    _passed("account", "A", "SBATCH_ACCOUNT"),
    _passed("acctg-freq", "", "SBATCH_ACCTG_FREQ"),
    _read("array", "a", "a job for each number, judged one by one", "SBATCH_ARRAY_INX"),
    _refused("batch", "", _WITHIN, "SBATCH_BATCH"),
    _passed("bb"),
    _passed("bbf"),
    _read("begin", "b", "not before: the deadline is judged with it"),
    _passed("chdir", "D"),
    _refused("cluster-constraint", "", "run ef-sbatch on a login node of that cluster"),
    _refused(
        "clusters",
        "M",
        "run ef-sbatch on a login node of that cluster",
        "SBATCH_CLUSTERS SLURM_CLUSTERS",
    ),
    _read("comment", "", "kept, before what ef-slurm writes there: deadline and promise"),
    _refused("consolidate-segments", "", _WITHIN, takes=_NOTHING),
    _read(
        "constraint",
        "C",
        "a restriction: features with & and |, and parentheses; no counts and no brackets",
        "SBATCH_CONSTRAINT",
    ),
    _passed("container", "", "SBATCH_CONTAINER"),
    _passed("container-id", "", "SBATCH_CONTAINER_ID"),
    _refused("contiguous", "", _WITHIN, takes=_NOTHING),
    _refused("core-spec", "S", _WHOLE, "SBATCH_CORE_SPEC"),
    _refused("cores-per-socket", "", _CPUS),
    _passed("cpu-freq", words=_TO_SRUN),
    _read("cpus-per-gpu", "", "CPUs with each GPU, at every size", "SBATCH_CPUS_PER_GPU"),
    _read(
        "cpus-per-task",
        "c",
        "per GPU: a rank is a task; divided where the script has several GPUs per task",
    ),
    _refused("deadline", "", "write it on an #EF line: sbatch's own would have Slurm end the job"),
    _passed("delay-boot", "", "SBATCH_DELAY_BOOT"),
    _read(
        "dependency",
        "d",
        "judged at once where the others have promises, else when they have ended; no aftercorr",
        "SBATCH_DEPENDENCY",
    ),
    _dropped("distribution", "m", f"{_TASKS}: nothing to distribute", "SBATCH_DISTRIBUTION"),
    _passed("error", "e", "SBATCH_ERROR"),
    _read("exclude", "x", "a restriction: nodes that the job never gets"),
    _refused(
        "exclusive",
        "",
        "Slurm would give the job all GPUs of its nodes at every size; a job has its GPUs, and "
        "their share of CPUs and memory, for itself anyway: leave it out",
        "SBATCH_EXCLUSIVE",
        takes=_OPTIONAL,
    ),
    _passed("export", "", "SBATCH_EXPORT"),
    _passed("export-file"),
    _refused("extra", "", "ef-slurm keeps it for itself; use --job-name"),
    _refused("extra-node-info", "B", _CPUS),
    _passed("get-user-env", "", "SBATCH_GET_USER_ENV", takes=_OPTIONAL),
    _refused("gid", "", "submit as that group (sg, newgrp)"),
    _dropped("gpu-bind", "", f"{_TASKS}, which takes its own", "SBATCH_GPU_BIND"),
    _passed("gpu-freq", "", "SBATCH_GPU_FREQ", words=_TO_SRUN),
    _bound("gpus", "G", "at most so many; of a type as with --gpu-type", "SBATCH_GPUS"),
    _bound(
        "gpus-per-node", "", "at most so many, times --nodes (1 without)", "SBATCH_GPUS_PER_NODE"
    ),
    _refused("gpus-per-socket", "", _SHARE),
    _bound("gpus-per-task", "", "at most so many, times the tasks", "SBATCH_GPUS_PER_TASK"),
    _bound("gres", "", "as --gpus-per-node; nothing but GPUs", "SBATCH_GRES"),
    _passed("gres-flags", "", "SBATCH_GRES_FLAGS"),
    _read("help", "h", takes=_NOTHING),
    _passed("hint", "", "SBATCH_HINT SLURM_HINT"),
    _refused("hold", "H", f"{_WHEN}; every job is held until its plan starts it", takes=_NOTHING),
    _dropped(
        "ignore-pbs", "", "ef-sbatch reads no #PBS lines", "SBATCH_IGNORE_PBS", takes=_NOTHING
    ),
    _dropped("input", "i", "of many ranks none reads standard input", "SBATCH_INPUT"),
    _read("job-name", "J", "", "SBATCH_JOB_NAME"),
    _read("kill-on-invalid-dep", "", "cancelled once what it waits for can never be"),
    _passed("licenses", "L", words="counted before anything is promised"),
    _read("mail-type", "", "about the job, not about each change of its GPUs; also of its promise"),
    _read("mail-user", ""),
    _passed("mcs-label"),
    _read(
        "mem",
        "",
        "per GPU; divided where the script has GPUs per node; 0 is each GPU's share of the node",
        "SBATCH_MEM_PER_NODE",
    ),
    _passed("mem-bind", "", "SBATCH_MEM_BIND", words=_TO_SRUN),
    _read("mem-per-cpu", "", "memory with each CPU of a GPU", "SBATCH_MEM_PER_CPU"),
    _read("mem-per-gpu", "", "memory with each GPU, at every size", "SBATCH_MEM_PER_GPU"),
    _refused("mincpus", "", _CPUS),
    _passed("network", "", "SBATCH_NETWORK"),
    _passed("nice", takes=_OPTIONAL),
    _refused(
        "no-kill",
        "k",
        "a job whose node fails goes on elsewhere, from its checkpoint; leave it out",
        "SBATCH_NO_KILL",
        takes=_OPTIONAL,
    ),
    _refused(
        "no-requeue",
        "",
        "ef-slurm moves jobs by requeueing them; leave it out",
        "SBATCH_NO_REQUEUE",
        takes=_NOTHING,
    ),
    _read("nodefile", "F", "as --nodelist, read from a file"),
    _read("nodelist", "w", "a restriction: the job gets some of these nodes and no others"),
    _bound("nodes", "N", "at most so many; of MIN-MAX the second"),
    _bound("ntasks", "n", "a rank is a task: at most so many GPUs, where nothing else says them"),
    _dropped("ntasks-per-core", "", _TASKS),
    _bound("ntasks-per-gpu", "", "1 only: one rank per GPU"),
    _bound(
        "ntasks-per-node",
        "",
        "at most so many GPUs, times --nodes (1 without), where nothing else says them",
    ),
    _dropped("ntasks-per-socket", "", _TASKS),
    _passed("oom-kill-step", takes=_OPTIONAL),
    _read("open-mode", "", "append only: one log over all restarts", "SBATCH_OPEN_MODE"),
    _passed("output", "o", "SBATCH_OUTPUT"),
    _refused("overcommit", "O", _ALONE, "SBATCH_OVERCOMMIT", takes=_NOTHING),
    _refused("oversubscribe", "s", _ALONE, takes=_NOTHING),
    _read("parsable", "", takes=_NOTHING),
    _read("partition", "p", "the one that ef-slurm schedules", "SBATCH_PARTITION"),
    _passed("power", "", "SBATCH_POWER"),
    _refused("prefer", "", "ef-slurm prefers no nodes; restrict them with --constraint"),
    _refused("priority", "", _WHEN),
    _refused(
        "profile",
        "",
        "ef-sbatch has a --profile of its own, for #EF lines; what Slurm is to gather says "
        "SBATCH_PROFILE in the environment",
    ),
    _passed("propagate", takes=_OPTIONAL),
    _passed("qos", "q", "SBATCH_QOS"),
    _read("quiet", "Q", takes=_NOTHING),
    _refused(
        "reboot",
        "",
        "the nodes would be rebooted at every change of size; leave it out",
        takes=_NOTHING,
    ),
    _read("requeue", "", "always the case", "SBATCH_REQUEUE", takes=_NOTHING),
    _passed("reservation", "", "SBATCH_RESERVATION"),
    _dropped("resv-ports", "", "ranks find each other over EF_MASTER_PORT", takes=_OPTIONAL),
    _refused("segment", "", _WITHIN, "SBATCH_SEGMENT_SIZE"),
    _passed(
        "signal",
        "",
        "SBATCH_SIGNAL",
        words="so long before the end of the time limit, in each run that reaches it",
    ),
    _refused("sockets-per-node", "", _CPUS),
    _refused("spread-job", "", _WITHIN, "SBATCH_SPREAD_JOB", takes=_NOTHING),
    _refused("spread-segments", "", _WITHIN, takes=_NOTHING),
    _passed("stepmgr", takes=_NOTHING),
    _refused("switches", "", _WITHIN, "SBATCH_REQ_SWITCH"),
    _bound("tasks-per-node", "", "as --ntasks-per-node"),
    _read("test-only", "", takes=_NOTHING),
    _refused("thread-spec", "", _WHOLE, "SBATCH_THREAD_SPEC"),
    _refused(
        "threads-per-core",
        "",
        "CPUs follow the GPUs; --hint=nomultithread uses one thread of each core",
        "SBATCH_THREADS_PER_CORE",
    ),
    _read(
        "time",
        "t",
        "the most that the job may take from its first start to its end",
        "SBATCH_TIMELIMIT",
    ),
    _refused("time-min", "", "give --time=LIMIT as the upper bound, or leave it to ef-slurm"),
    _passed("tmp", words="and a restriction: nodes with less are none of the job's"),
    _refused("tres-bind", "", _SHARE, "SBATCH_TRES_BIND"),
    _refused("tres-per-task", "", _SHARE, "SBATCH_TRES_PER_TASK"),
    _refused("uid", "", "submit as that user"),
    _read("usage", "", takes=_NOTHING),
    _dropped(
        "use-min-nodes", "", "ef-slurm chooses the nodes", "SBATCH_USE_MIN_NODES", takes=_NOTHING
    ),
    _passed("verbose", "v", takes=_NOTHING),
    _read("version", "V", takes=_NOTHING),
    _read("wait", "W", "", "SBATCH_WAIT", takes=_NOTHING),
    _passed("wait-all-nodes", "", "SBATCH_WAIT_ALL_NODES"),
    _passed("wckey", "", "SBATCH_WCKEY"),
    _read("wrap"),
)
"""In the order of their names."""
