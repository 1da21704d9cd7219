"""Which of sbatch's options a companion of the job is submitted with, too.

What Slurm tells of a running job (account, QOS, CPUs and memory per GPU, constraint, ...) the batch
script takes from there, as it is then. These it does not tell, or not all releases do. What is not
among them is of one job: its times and mails, its output, what must not be counted twice.
"""

from collections.abc import Iterable

_NAMES = (
    *("acctg-freq", "container", "container-id", "cpu-freq", "delay-boot", "gpu-freq"),
    *("gres-flags", "hint", "mcs-label", "mem-bind", "network", "nice", "oom-kill-step", "power"),
    *("propagate", "stepmgr", "tmp", "wait-all-nodes", "wckey"),
)


def companion_options(words: Iterable[str]) -> tuple[str, ...]:
    """Those of the options, each one word (`--hint=nomultithread`), that a companion has.

    >>> companion_options(["--hint=nomultithread", "--signal=USR1@60", "--nice"])
    ('--hint=nomultithread', '--nice')
    """
    return tuple(word for word in words if word.partition("=")[0].removeprefix("--") in _NAMES)
