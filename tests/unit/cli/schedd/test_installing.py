"""`ef-schedd setup`: everything is shown before it is done, and done only when that is wished."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from ef_slurm.cli.common.errors import ExitCode, UsageError
from ef_slurm.cli.schedd import installing
from ef_slurm.installation.steps import ByHand, Plan, WriteFile

Work = Callable[..., ExitCode]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "one", tmp_path / "two"


@pytest.fixture
def work(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Work:
    """What becomes of two files, by root."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    steps = tuple(WriteFile(path, None, "new text\n", "because") for path in files)

    def do(
        answers: list[bool] | None = None,
        *,
        yes: bool = False,
        dry_run: bool = False,
        reconfigure: bool = False,
        by_hand: tuple[ByHand, ...] = (),
    ) -> ExitCode:
        left = list(answers or [])
        monkeypatch.setattr(sys.stdin, "isatty", lambda: answers is not None)
        monkeypatch.setattr(click, "confirm", lambda *_, **__: left.pop(0))
        plan = Plan(steps, by_hand, reconfigure)
        return installing._work(plan, yes=yes, dry_run=dry_run, reconfigure=False)

    return do


def there(files: tuple[Path, Path]) -> list[bool]:
    return [path.exists() for path in files]


def test_yes(work: Work, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert work(yes=True, reconfigure=True) is ExitCode.OK
    assert there(files) == [True, True]
    out = capsys.readouterr().out
    assert f"1/2 write {files[0]}: because" in out
    assert "    +new text" in out
    assert "    scontrol reconfigure" in out  # told, not done


def test_dry_run(work: Work, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert work(dry_run=True) is ExitCode.OK
    assert there(files) == [False, False]
    assert "    +new text" in capsys.readouterr().out


def test_without_a_terminal_nothing_is_done(work: Work, files: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="give --yes"):
        work()
    assert there(files) == [False, False]


def test_each_step_is_asked(work: Work, files: tuple[Path, Path]) -> None:
    assert work([False, True]) is ExitCode.SLURM
    assert there(files) == [False, True]


def test_nobody_but_root(
    work: Work, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    with pytest.raises(UsageError, match="only root"):
        work(yes=True)
    assert there(files) == [False, False]
    assert work(dry_run=True) is ExitCode.OK


def test_slurmctld_reads_its_files_only_when_it_may(
    work: Work, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(installing, "run", ran.append)
    work([True, True, False], reconfigure=True)
    assert ran == []
    for path in files:
        path.unlink()
    work([True, True, True], reconfigure=True)
    assert ran == [("scontrol", "reconfigure")]


def test_what_only_a_person_can_do_is_told_and_not_done(
    work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ByHand("slurm.conf on ctl", ("JobSubmitPlugins=lua",), "it is not here")
    assert work(yes=True, by_hand=(told,)) is ExitCode.SLURM
    out = capsys.readouterr().out
    assert "By hand, slurm.conf on ctl: it is not here" in out
    assert "    JobSubmitPlugins=lua" in out
