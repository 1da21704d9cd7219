"""Where a job writes, out of what `scontrol --oneliner show job` prints."""

from __future__ import annotations

import re
from pathlib import Path

_STDOUT = re.compile(r"(?:^|\s)StdOut=(.*?)(?=\s+[A-Z]\w*=|\s*$)", re.M)
_FIELD = re.compile(r"(?:^|\s)(JobName|UserId)=(\S+)")
_PATTERN = re.compile(r"%(\d*)([A-Za-z%])")


def output_file(shown: str, job_id: int) -> Path | None:
    """The file of a job's standard output.

    Args:
        shown: what Slurm prints of the job. Some versions leave patterns of sbatch's `--output` in
            it; those that stand for something else on each node give none.

    >>> output_file("JobId=7 JobName=bert StdIn=/dev/null StdOut=/home/a/%x-%5j.out Power=", 7)
    PosixPath('/home/a/bert-00007.out')
    >>> output_file("JobId=7 StdOut=/home/a/%N.out", 7) is None
    True
    """
    match = _STDOUT.search(shown)
    if match is None:
        return None
    told = dict(_FIELD.findall(shown))
    known = {
        "j": str(job_id),
        "A": str(job_id),
        "J": str(job_id),
        "%": "%",
        "x": told.get("JobName"),
        "u": told.get("UserId", "").partition("(")[0] or None,
    }
    unknown = False

    def filled(found: re.Match[str]) -> str:
        nonlocal unknown
        word = known.get(found[2])
        unknown |= word is None
        return (word or "").rjust(int(found[1] or 0), "0") if word is not None else ""

    text = _PATTERN.sub(filled, match[1].strip())
    if unknown or not text.startswith("/") or text == "/dev/null":
        return None
    return Path(text)
