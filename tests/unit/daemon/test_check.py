"""`ef-schedd check`: what can be known without Slurm."""

from dataclasses import replace
from pathlib import Path

from ef_slurm.daemon.check import Level, check_launch
from ef_slurm.model import LaunchSettings
from ef_slurm.siteconfig import SiteConfig


def test_a_template_that_no_job_could_use_is_found_before_any_job(tmp_path: Path) -> None:
    (finding,) = check_launch(SiteConfig())
    assert (finding.level, finding.subject) == (Level.OK, "launch")
    template = tmp_path / "site.j2"
    template.write_text("{{ colour }}")
    config = replace(SiteConfig(), launch=LaunchSettings(template=template))
    (finding,) = check_launch(config)
    assert finding.level is Level.ERROR
    assert finding.text == f"no job can be submitted: {template}: 'colour' is undefined"
