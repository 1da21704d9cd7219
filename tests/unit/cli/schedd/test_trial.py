"""`ef-schedd check --try`: the job of ten seconds, and who may send it."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.sbatch.options import ALL_OPTIONS
from ef_slurm.cli.schedd import trial_job
from ef_slurm.cli.schedd.person import person
from ef_slurm.contract import Phase, StateDir
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.tables import DaemonTable, Serves, SiteConfig

SERVICE = replace(SiteConfig(), daemon=DaemonTable(serves=Serves.EVERYONE, user="daemon"))


def test_the_job_reports_as_agreed(tmp_path: Path) -> None:
    sleepless = trial_job.COMMAND.replace("sleep 1", ":")
    environment = {**os.environ, "EF_STATE_DIR": str(tmp_path), "EF_GENERATION": "3"}
    subprocess.run(["/bin/sh", "-c", sleepless], env=environment, check=True, timeout=60)
    progress = StateDir(tmp_path).read_progress()
    assert progress is not None
    assert (progress.phase, progress.generation, progress.exit_code) == (Phase.FINISHED, 3, 0)
    assert progress.iteration == progress.checkpoint_iteration == trial_job.ITERATIONS
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]


def test_ef_sbatch_knows_its_options() -> None:
    parsed, rest = ALL_OPTIONS.parse(list(trial_job.options("a100")), "command line")
    assert rest == []
    assert len(parsed) == len(trial_job.options("a100"))


def test_who_says_nothing_about_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Account, "own", lambda: Account("root", 0, frozenset({0})))
    for name in (None, "root", "daemon"):
        with pytest.raises(UsageError, match="add --user=NAME"):
            person(SERVICE, name)
    with pytest.raises(UsageError, match="no such user"):
        person(SERVICE, "no-such-user")
    assert person(SERVICE, "nobody").other
    monkeypatch.setattr(Account, "own", lambda: Account("alice", 1234, frozenset()))
    assert not person(SERVICE, None).other
    with pytest.raises(UsageError, match="only root"):
        person(SERVICE, "nobody")
