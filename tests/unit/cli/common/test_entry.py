"""How a command ends where its standard streams are closed, full, or read by nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}

_PROGRAM = """
import os, subprocess, sys
import click
from ef_slurm.cli.common.entry import run, warn
from ef_slurm.cli.common.errors import CommandError, ExitCode
from ef_slurm.cli.common.output import say

def prints():
    say("result")

def unflushed():
    sys.stdout.write("result")
    return ExitCode.OK

def refuses():
    raise CommandError("no", ExitCode.INFEASIBLE)

def talks():
    say("by the way", err=True)
    warn("ef-x", "look")
    return ExitCode.OK

def reads():
    say(repr(sys.stdin.read()))

def writes():
    with open(sys.argv[2], "w") as file:
        subprocess.run(["echo", "for the terminal"], check=False)
        print("for the terminal")
        file.write("own")

run("ef-x", lambda: globals()[sys.argv[1]]() or ExitCode.OK)
"""


def ended(what: str, streams: str, file: str = "") -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a body with the shell's redirections."""
    return told(f'exec "$@" {streams}', "-c", _PROGRAM, what, file)


def told(shell: str, *python: str) -> tuple[int, str, str]:
    """The same of a line of bash, whose arguments are Python and what it is to do."""
    done = subprocess.run(
        ["bash", "-c", shell, "bash", sys.executable, *python],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
        env=ENVIRONMENT,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("what", "streams", "end"),
    [
        ("prints", "", (0, "result\n", "")),
        ("prints", ">&-", (0, "", "")),
        ("prints", ">&- 2>&- <&-", (0, "", "")),
        ("unflushed", ">&-", (0, "", "")),
        ("reads", "<&-", (0, "''\n", "")),
        ("talks", "2>&-", (0, "", "")),
        ("talks", "2>/dev/full", (0, "", "")),
        ("refuses", "2>&-", (3, "", "")),
        ("refuses", "2>/dev/full", (3, "", "")),
        ("prints", ">/dev/full", (1, "", "ef-x: error: No space left on device\n")),
        (
            "unflushed",
            ">/dev/full",
            (1, "", "ef-x: error: standard output: No space left on device\n"),
        ),
    ],
)
def test_the_end_is_one_line_and_a_documented_code(
    what: str, streams: str, end: tuple[int, str, str]
) -> None:
    assert ended(what, streams) == end


def test_a_file_of_its_own_never_stands_in_for_a_closed_stream(tmp_path: Path) -> None:
    file = tmp_path / "own"
    assert ended("writes", ">&-", str(file)) == (0, "", "")
    assert file.read_text() == "own"


def test_whoever_has_read_enough_is_told_no_error() -> None:
    program = "import time; time.sleep(0.5)\n" + _PROGRAM
    read = '"$@" | true; exit "${PIPESTATUS[0]}"'
    assert told(read, "-c", program, "prints") == (1, "", "")


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        (">&-", 0, ""),
        (">/dev/full", 1, "Error: standard output: No space left on device\n"),
    ],
)
def test_ef_sim_too(streams: str, code: int, said: str) -> None:
    end = told(f'exec "$@" {streams}', "-m", "ef_slurm.cli.sim.command", "--help")
    assert end == (code, "", said)
