"""Lines of slurm.conf and job_submit.lua."""

import hashlib
import re

import pytest

from ef_slurm.installation import slurm_files
from ef_slurm.resources import site_config_dir
from ef_slurm.slurm import guard

SHIPPED = (site_config_dir() / "slurm" / "job_submit.lua").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\n", "A=1\nJobSubmitPlugins=lua\n"),
        ("A=1", "A=1\nJobSubmitPlugins=lua\n"),
        ("", "JobSubmitPlugins=lua\n"),
        ("JobSubmitPlugins=throttle\nB=2\n", "JobSubmitPlugins=throttle,lua\nB=2\n"),
        ("jobsubmitplugins = throttle # why\n", "jobsubmitplugins = throttle,lua # why\n"),
        ("JobSubmitPlugins=\nB=2\n", "JobSubmitPlugins=lua\nB=2\n"),
        ("#JobSubmitPlugins=x\n", "#JobSubmitPlugins=x\nJobSubmitPlugins=lua\n"),
        ("NotJobSubmitPlugins=x\n", "NotJobSubmitPlugins=x\nJobSubmitPlugins=lua\n"),
        ("JobSubmitPlugins=throttle,\\\n  all_partitions\n", None),
    ],
)
def test_a_plugin_is_added_to_those_that_are_there(text: str, expected: str | None) -> None:
    assert slurm_files.with_value(text, "JobSubmitPlugins", "lua") == expected


def test_partitions_are_known_by_their_whole_name() -> None:
    text = "PartitionName=ef2 Nodes=n1\n#PartitionName=ef Nodes=n1\n partitionname=Ef Nodes=n1\n"
    assert not slurm_files.has_partition("PartitionName=ef2 Nodes=n1\n", "ef")
    assert not slurm_files.has_partition("#PartitionName=ef Nodes=n1\n", "ef")
    assert slurm_files.has_partition(text, "ef2")
    assert slurm_files.has_partition("PartitionName=ef", "ef")


def names(text: str) -> tuple[str, str]:
    (partitions,) = re.findall(r"^local PARTITIONS = \{(.*)\}$", text, re.M)
    (user,) = re.findall(r'^local SERVICE_USER = "(.*)"$', text, re.M)
    return partitions.strip(), user


def test_the_plugin_gets_the_sites_names_and_keeps_those_that_it_has() -> None:
    ours = slurm_files.plugin_for(SHIPPED, "gpu-ef", "deadlines")
    assert names(ours) == ('["gpu-ef"] = true', "deadlines")
    assert slurm_files.PLUGIN_MARK in ours
    assert slurm_files.plugin_with(ours, "gpu-ef", "deadlines") == ours
    assert slurm_files.plugin_with(SHIPPED, "ef", "ef-slurm") == SHIPPED
    more = slurm_files.plugin_with(SHIPPED, "f", "ef-slurm")
    assert names(more) == ('ef = true, ["f"] = true', "ef-slurm")
    assert slurm_files.plugin_with(more, "ef", "ef-slurm") == more


@pytest.mark.parametrize(
    ("inside", "made"),
    [
        ("", '["f"] = true'),
        (" ef = true, ", 'ef = true, ["f"] = true'),
        ("\n  ef = true, -- ours\n", 'ef = true, ["f"] = true'),
        (" ef = true -- ours\n", 'ef = true, ["f"] = true'),
    ],
)
def test_partitions_are_added_behind_whatever_a_site_wrote(inside: str, made: str) -> None:
    text = slurm_files.plugin_with(f"local PARTITIONS = {{{inside}}} -- x\n", "f", "u")
    assert text == f"local PARTITIONS = {{ {made} }} -- x\n"


CODE = "1a14d42c5b4e5e9d"
"""Of the plugin with this release's revision."""


def test_a_plugin_that_changes_gets_another_revision() -> None:
    """Otherwise `ef-schedd check` takes an older one for this one."""
    (revision,) = re.findall(r"^local REVISION = (\d+)$", SHIPPED, re.M)
    assert int(revision) == guard.REVISION
    without = re.sub(r"--\[\[.*?--\]\]", "", SHIPPED, flags=re.S)
    lines = (line.partition("-- ")[0].rstrip() for line in without.splitlines())
    code = "\n".join(line for line in lines if line)
    digest = hashlib.sha256(code.encode()).hexdigest()[:16]
    assert digest == CODE, f"raise REVISION there and in slurm/guard.py, and write {digest} here"
