"""What runs behind others: heard afterwards, of the lowest priority, and ended with them."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from mini.behind import LEAST, Behind, behind

SAYS_ITS_PRIORITY = "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"


def sh(others: Behind, script: str) -> tuple[int, str]:
    return others.kept(["sh", "-c", script], Path("/"), os.environ)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_was_said_and_the_exit_code_are_kept() -> None:
    with behind(gives_way=True) as others:
        said = others.start(partial(sh, others, "echo one; echo two >&2; exit 3"))
        assert said.result() == (3, "one\ntwo\n")


@pytest.mark.parametrize("gives_way", [True, False])
def test_it_gives_way_if_it_is_to(gives_way: bool) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    with behind(gives_way=gives_way) as others:
        # The shell waits until it is over that its priority is set from outside.
        script = f"sleep 0.5; exec python3 -c '{SAYS_ITS_PRIORITY}'"
        _, said = others.start(partial(sh, others, script)).result()
    assert int(said) == (LEAST if gives_way else ours)


def test_a_command_that_is_not_there_is_an_error() -> None:
    with behind(gives_way=True) as others, pytest.raises(FileNotFoundError):
        others.start(lambda: others.kept(["/nowhere/none"], Path("/"), os.environ)).result()


def test_whoever_leaves_ends_what_runs_and_what_that_started(tmp_path: Path) -> None:
    runs, left = tmp_path / "runs", tmp_path / "left"

    def interrupted() -> None:
        with behind(gives_way=False) as others:
            script = f"echo $$ > {runs}; sleep 60; touch {left}"
            others.start(lambda: (sh(others, script), sh(others, f"touch {left}")))
            until(lambda: runs.exists() and runs.read_text(encoding="ascii").endswith("\n"))
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - began < 60
    until(lambda: not is_there(int(runs.read_text(encoding="ascii"))))  # init reaps them soon
    assert not left.exists()
