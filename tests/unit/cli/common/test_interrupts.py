"""Ctrl-C waits for what must not be left half-done."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ef_slurm.cli.common.interrupts import ended_by_hangup, uninterrupted

_PROGRAM = """
import subprocess
from ef_slurm.cli.common.interrupts import uninterrupted
try:
    with uninterrupted():
        done = subprocess.run(
            ["sh", "-c", "echo ready; read -r line; echo $line"], stdout=2, stdin=0
        )
    print("not heard of")
except KeyboardInterrupt:
    print("interrupted", done.returncode, flush=True)
"""


def test_a_command_in_the_midst_of_its_work_does_not_hear_it() -> None:
    """As on a terminal, which sends Ctrl-C to all processes."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[4],
    )
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        out, said = process.communicate("all is said\n", timeout=60)
    assert said == "all is said\n"
    assert out == "interrupted 0\n"


def test_ctrl_c_is_heard_once_when_the_body_has_ended() -> None:
    reached = 0
    with pytest.raises(KeyboardInterrupt), uninterrupted():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        reached += 1
        os.kill(os.getpid(), signal.SIGINT)
        reached += 1
    assert reached == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_an_error_of_the_body_says_more() -> None:
    with pytest.raises(ValueError, match="no answer"), uninterrupted():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError("no answer")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_nothing_is_changed_but_what_it_starts() -> None:
    masks: list[bool] = []

    def work() -> None:
        with uninterrupted():
            masks.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        masks.append(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert masks == [True, False]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_lost_terminal_ends_it_as_ctrl_c_does(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), ended_by_hangup():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_lost_terminal_waits_too(number: signal.Signals) -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), ended_by_hangup(), uninterrupted():  # noqa: PT012
        os.kill(os.getpid(), number)
        reached = True
    assert reached
    assert signal.getsignal(number) is signal.SIG_DFL


def test_under_nohup_a_lost_terminal_ends_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_hangup(), uninterrupted():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
