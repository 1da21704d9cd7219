"""A host and a Slurm as a survey finds them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.formats.gres import GpuCount
from ef_slurm.installation import service
from ef_slurm.installation.survey import Host, Slurm
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.slurm.commands.accounting import AdminLevel
from ef_slurm.slurm.guard import Guard
from ef_slurm.slurm.site_types import SlurmConfiguration, SlurmPartition
from ef_slurm.slurm.types import SlurmNode

SETTINGS = {
    "SlurmUser": "slurm(64030)",
    "AccountingStorageType": "accounting_storage/slurmdbd",
    "AccountingStoreFlags": "(null)",
    "SelectTypeParameters": "CR_CORE_MEMORY",
}


@pytest.fixture
def slurm(tmp_path: Path) -> Callable[..., Slurm]:
    """A Slurm that has never heard of ef-slurm; what differs may be given."""

    def make(plugins: tuple[str, ...] = (), partition: str = "batch", **changes: Any) -> Slurm:
        settings = changes.pop("settings", SETTINGS)
        found: dict[str, Any] = {
            "settings": SlurmConfiguration((24, 11, 5), "c", 30.0, 300.0, True, plugins, settings),
            "partitions": (SlurmPartition(partition, True, ("n1",)),),
            "nodes": tuple(
                SlurmNode(f"n{i}", frozenset({"IDLE"}), gpus, cpus=64, memory=256000.0)
                for i, gpus in enumerate(((), (GpuCount("a100", 4),), (GpuCount("a100", 8),)))
            ),
            "conf": tmp_path / "slurm.conf",
            "conf_text": "ClusterName=c\n",
            "plugin_text": None,
            "called_text": None,
            "guard": Guard.NOBODY,
            "level": AdminLevel.NONE,
            "known": (False, False),
        }
        return Slurm(**(found | changes))

    return make


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with systemd's directories and the daemon's user, this process's own."""
    monkeypatch.setattr(service, "UNIT", tmp_path / "systemd" / "ef-schedd.service")
    own = Account.own()
    return Host("ctl", {own.name: own.name}, "/usr/bin/ef-schedd")
