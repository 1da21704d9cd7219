"""What a survey finds of Slurm, by its own words."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ef_slurm.installation.steps import InstallationError
from ef_slurm.installation.survey import survey_host, survey_slurm
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.slurm.commands.accounting import AdminLevel
from ef_slurm.slurm.commands.runner import Runner

CONFIG = """\
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = c
JobSubmitPlugins        = (null)
SLURM_CONF              = {conf}
SLURM_VERSION           = 24.11.5
SlurmUser               = slurm(64030)
SlurmctldHost[0]        = {host}
"""
SCONTROL = """#!/bin/sh
case "$*" in
    *config*) cat {directory}/config ;;
    *nodes*) echo NodeName=n1 Gres=gpu:4 State=IDLE CPUTot=64 RealMemory=256000 Partitions=batch ;;
    *partitions*) echo PartitionName=batch State=UP Nodes=n1 ;;
    *) echo No reservations in the system ;;
esac
"""
SQUEUE = """#!/bin/sh
case "$*" in
    *--json*) echo '{"jobs": []}' ;;
esac
"""
SACCTMGR = """#!/bin/sh
case "$*" in
    *AdminLevel*) echo Operator ;;
    *"show user deadlines"*) echo "deadlines|x|Operator" ;;
esac
"""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """Slurm's commands on a host called ctl."""
    (tmp_path / "slurm.conf").write_text("ClusterName=c\n")
    scripts = {
        "scontrol": SCONTROL.format(directory=tmp_path),
        "sacctmgr": SACCTMGR,
        "squeue": SQUEUE,
        "sbatch": "#!/bin/sh\necho 'sbatch: error: invalid partition specified: ef' >&2\nexit 1\n",
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(stat.S_IRWXU)
    return Runner(directory=tmp_path)


def says(tmp_path: Path, host: str) -> None:
    text = CONFIG.format(conf=tmp_path / "slurm.conf", host=host)
    (tmp_path / "config").write_text(text)


@pytest.mark.parametrize(
    ("host", "mine"),
    [
        ("ctl", True),
        ("ctl(10.1.2.3)", True),
        ("ctl.example.org", True),
        ("localhost", True),
        ("other", False),
        ("ctl2", False),
    ],
)
def test_files_are_ours_where_slurmctld_runs(
    tmp_path: Path, runner: Runner, host: str, mine: bool
) -> None:
    says(tmp_path, host)
    found = survey_slurm(runner, "ef", "deadlines", "ctl.cluster")
    assert found.conf_text == ("ClusterName=c\n" if mine else None)
    assert found.plugin_text is None
    assert (found.level, found.known) == (AdminLevel.OPERATOR, (True, False))
    assert not found.guard.is_ours
    assert [node.gpu_total for node in found.nodes] == [4]
    (tmp_path / "job_submit.lua").write_text("-- theirs")
    (tmp_path / "ef-slurm.lua").write_text("-- ours")
    again = survey_slurm(runner, "ef", "deadlines", "ctl.cluster")
    found_texts = (again.plugin_text, again.called_text)
    assert found_texts == (("-- theirs", "-- ours") if mine else (None, None))


def test_a_slurm_that_does_not_answer(tmp_path: Path, runner: Runner) -> None:
    (tmp_path / "scontrol").write_text(
        "#!/bin/sh\necho 'Unable to contact slurm controller' >&2\nexit 1\n"
    )
    with pytest.raises(InstallationError, match="Slurm does not answer: Unable to contact"):
        survey_slurm(runner, "ef", "deadlines", "ctl")


def test_this_host(tmp_path: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.directory == tmp_path
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_CONF", "/opt/slurm.conf")
    own = Account.own().name
    host = survey_host(own)
    assert list(host.accounts) == [own]
    assert host.commands == str(tmp_path)  # systemd would not look there
    assert host.environment == {"SLURM_CONF": "/opt/slurm.conf"}
    assert survey_host("no-such-user").accounts == {}
