"""What is known of running mini-Slurms."""

import json
from pathlib import Path

import pytest
from mini import settings
from mini.settings import Cluster


def test_a_mini_slurm_of_another_version_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINISLURM_STATE", str(tmp_path))
    cluster = Cluster(name="t", suite="trixie", nodes=1, gpus_per_node=1, engine="native")
    settings.register(cluster)
    path = cluster.directory / "cluster.json"
    later = json.loads(path.read_text()) | {"something_new": ["a"]}
    path.write_text(json.dumps(later))
    assert settings.registered() == [cluster]
    assert settings.find("t") == cluster
