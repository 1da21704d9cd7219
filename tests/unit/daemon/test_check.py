"""`ef-schedd check`: what can be known without Slurm."""

from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.daemon.check import check_launch, check_memory
from ef_slurm.daemon.findings import Level
from ef_slurm.model import LaunchSettings
from ef_slurm.siteconfig import SiteConfig
from ef_slurm.slurm.site_types import SlurmConfiguration, SlurmPartition


def test_a_template_that_no_job_could_use_is_found_before_any_job(tmp_path: Path) -> None:
    (finding,) = check_launch(SiteConfig())
    assert (finding.level, finding.subject) == (Level.OK, "launch")
    template = tmp_path / "site.j2"
    template.write_text("{{ colour }}")
    config = replace(SiteConfig(), launch=LaunchSettings(template=template))
    (finding,) = check_launch(config)
    assert finding.level is Level.ERROR
    assert finding.text == f"no job can be submitted: {template}: 'colour' is undefined"


@pytest.mark.parametrize(
    ("settings", "of_partition", "level"),
    [
        ({"SelectTypeParameters": "CR_CORE"}, False, None),
        ({"SelectTypeParameters": "CR_CORE_MEMORY"}, False, Level.WARNING),
        ({"SelectTypeParameters": "CR_CPU_MEMORY"}, True, Level.OK),
        ({"SelectTypeParameters": "CR_CORE_MEMORY", "DefMemPerNode": "UNLIMITED"}, False,
         Level.WARNING),
        ({"SelectTypeParameters": "CR_CORE_MEMORY", "DefMemPerCPU": "2000"}, False, Level.OK),
        ({"SelectTypeParameters": "CR_CORE_MEMORY",
          "JobDefaults": "DefCpuPerGPU=8,DefMemPerGPU=9"}, False, Level.OK),
    ],
)  # fmt: skip
def test_a_job_that_asks_for_no_memory_must_not_take_all(
    settings: dict[str, str], of_partition: bool, level: Level | None
) -> None:
    slurm = SlurmConfiguration((24, 11, 5), "c", 30.0, 300.0, True, (), settings)
    partitions = (
        SlurmPartition("other", True, (), default_memory=True),
        SlurmPartition(SiteConfig().slurm.partition, True, (), default_memory=of_partition),
    )
    found = [finding.level for finding in check_memory(SiteConfig(), slurm, partitions)]
    assert found == ([] if level is None else [level])
