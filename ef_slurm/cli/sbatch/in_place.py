"""ef-sbatch under the name `sbatch`: for tools that call that and can be told nothing else.

A link `sbatch` to ef-sbatch stands in a directory before Slurm's in PATH. Jobs of ef-slurm's go the
way of ef-sbatch, and run as sbatch would run them: once, on the first node. All others are Slurm's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ef_slurm.cli.common.entry import configuration
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.given import read_words
from ef_slurm.cli.sbatch.options import OURS_INSTEAD, OWN
from ef_slurm.cli.sbatch.script import directives
from ef_slurm.launch import is_python
from ef_slurm.siteconfig.errors import SiteConfigError

SCRIPT_ON = "EF_SBATCH_SCRIPT_ON"
_STDIN = "/dev/stdin"
_TELLING = frozenset({"EF_SBATCH_DEADLINE", "EF_SBATCH_BEST_EFFORT"})
_ONLY_OURS = frozenset(option.name for option in OWN) - OURS_INSTEAD.keys()


def is_in_place(program: str) -> bool:
    """Whether the command was called by sbatch's name."""
    return Path(program).name == "sbatch"


def take_or_leave(program: str, words: Sequence[str]) -> None:
    """Return if the job is ef-slurm's; else become Slurm's sbatch.

    Args:
        program: how this one was called; what calls sbatch from now on finds Slurm's.

    Raises:
        SiteConfigError: the job is meant for ef-slurm, which is not configured here.
        OSError: there is no other sbatch.
    """
    _step_aside(Path(program).absolute().parent)
    parsed, rest = read_words(words, Problems())
    wrapped = any(one.option.name == "wrap" for one in parsed)
    if not wrapped and rest[:1] in ([], [_STDIN]):
        _keep_stdin()
    text = "" if wrapped else _text(rest)
    python = bool(rest) and is_python(rest[0])
    said = directives(text, "script", python=python, problems=Problems())
    partitions = [one.value for one in said if one.option.name == "partition"]
    partitions += [os.environ["SBATCH_PARTITION"]] if "SBATCH_PARTITION" in os.environ else []
    partitions += [one.value for one in parsed if one.option.name == "partition"]
    meant = (
        bool(_TELLING & os.environ.keys())
        or any(one.option in OWN for one in said)
        or any(one.option.name in _ONLY_OURS for one in parsed)
    )
    if _is_ours(partitions[-1] if partitions else None, meant=meant):
        os.environ.setdefault(SCRIPT_ON, "first")
        return
    os.execvp("sbatch", ["sbatch", *words])  # noqa: S606, S607 - PATH is where sbatch is found


def _is_ours(partition: str | None, *, meant: bool) -> bool:
    try:
        ours = configuration(None).slurm.partition
    except SiteConfigError:
        if meant and partition is None:
            raise
        return False
    return meant if partition is None else partition == ours


def _step_aside(directory: Path) -> None:
    """Take the directory of the link out of PATH: ef-sbatch and its job need the real sbatch."""
    kept = [
        entry
        for entry in os.environ.get("PATH", os.defpath).split(os.pathsep)
        if Path(entry or ".").absolute() != directory
    ]
    os.environ["PATH"] = os.pathsep.join(kept)


def _keep_stdin() -> None:
    """Let standard input be read again, by whoever takes the job."""
    if sys.stdin.isatty():
        return
    kept = os.memfd_create("script")
    with os.fdopen(os.dup(0), "rb") as source, os.fdopen(os.dup(kept), "wb") as target:
        target.write(source.read())
    os.lseek(kept, 0, os.SEEK_SET)
    os.dup2(kept, 0)
    os.close(kept)


def _text(rest: Sequence[str]) -> str:
    """What the script says, as far as it can be read; standard input stays where it is."""
    if not rest or rest[0] == _STDIN:
        if sys.stdin.isatty():
            return ""
        content = b""
        while part := os.pread(0, 1 << 16, len(content)):
            content += part
        return content.decode("utf-8", "replace")
    try:
        return Path(rest[0]).read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""  # a command of PATH, or what the one that takes the job will complain of
