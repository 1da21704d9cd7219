"""What Slurm needs for a service: a partition, the plugin that guards it, and an operator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ef_slurm.formats.hostlist import HostlistError, compress, expand
from ef_slurm.installation import slurm_files
from ef_slurm.installation.steps import (
    ByHand,
    InstallationError,
    RunCommand,
    Step,
    WishError,
    WriteFile,
)
from ef_slurm.installation.survey import Slurm, shipped
from ef_slurm.siteconfig.tables import SiteConfig
from ef_slurm.slurm.commands.accounting import AdminLevel
from ef_slurm.slurm.guard import Guard
from ef_slurm.slurm.types import SlurmNode

Reconfigure = Literal[True]
"""slurmctld has to read its files again."""


def slurm_steps(
    config: SiteConfig, slurm: Slurm, nodes: str | None
) -> Iterator[Step | ByHand | Reconfigure]:
    """What there is to do, and what only a person can.

    Args:
        nodes: of the partition, where it has to be made; None for all that have GPUs.

    Raises:
        InstallationError: there are no such nodes.
    """
    yield from _operator(config.daemon.user, slurm)
    plugin = tuple(_plugin(config, slurm))
    yield from plugin
    wanted = _wanted_lines(config, slurm, nodes)
    if not wanted and not plugin and slurm.guard is not Guard.OLDER:
        return
    yield True
    if not wanted:
        return
    if slurm.conf_text is None:
        yield ByHand(
            f"{slurm.conf} on the host of slurmctld (and wherever it is copied to)",
            tuple(wanted.values()),
            "what ef-slurm needs of Slurm; then there: scontrol reconfigure",
        )
        return
    text: str | None = slurm.conf_text
    for key, line in wanted.items():
        if text is None:
            break
        if key == "PartitionName":
            if not slurm_files.has_partition(text, config.slurm.partition):
                text = slurm_files.with_line(text, line)
            continue
        present = slurm_files.value_of(text, key)
        value = line.partition("=")[2]
        if present is not None and value in present.split(","):
            continue  # written, and not read by slurmctld yet
        if present is None and slurm.settings.settings.get(key, "(null)") not in ("(null)", ""):
            text = None  # it is said in a file that this one includes
        else:
            text = slurm_files.with_value(text, key, value)
    if text is None:
        why = "it cannot be changed by a program; then: scontrol reconfigure"
        yield ByHand(f"{slurm.conf}, and the files that it includes", tuple(wanted.values()), why)
    elif text != slurm.conf_text:
        yield WriteFile(
            slurm.conf,
            slurm.conf_text,
            text,
            "read at `scontrol reconfigure`; the same on all hosts",
        )


def _operator(user: str, slurm: Slurm) -> Iterator[Step | ByHand]:
    """The daemon acts on other people's jobs."""
    settings = slurm.settings.settings
    if slurm.level in (AdminLevel.OPERATOR, AdminLevel.ADMINISTRATOR):
        return
    if user in ("root", settings.get("SlurmUser", "").partition("(")[0]):
        return
    if slurm.level is None:
        yield ByHand(
            "accounting (slurmdbd)",
            (f"sacctmgr -i add user {user} account={user} adminlevel=operator",),
            "it does not answer, or there is none; without it there are no operators, and only "
            "SlurmUser may act on the jobs of others",
        )
        return
    known_user, known_account = slurm.known
    why = "an operator may change, hold, release, requeue and cancel the jobs of others"
    if known_user:
        words = ("sacctmgr", "-i", "modify", "user", user, "set", "adminlevel=operator")
        yield RunCommand(words, why)
        return
    if not known_account:
        yield RunCommand(("sacctmgr", "-i", "add", "account", user), "an account for the daemon")
    words = ("sacctmgr", "-i", "add", "user", user, f"account={user}", "adminlevel=operator")
    yield RunCommand(words, why)


def _plugin(config: SiteConfig, slurm: Slurm) -> Iterator[Step | ByHand]:
    """Nothing starts in the partition but by ef-slurm."""
    if slurm.guard is Guard.CURRENT:
        return
    partition, user = config.slurm.partition, config.daemon.user
    place, ours = slurm.conf.with_name("job_submit.lua"), shipped("slurm/job_submit.lua")
    why = "keeps users from starting or changing jobs in the partition behind ef-slurm's back"
    if slurm.guard is Guard.OLDER:
        why = f"{why}: of this release; PARTITIONS and OPERATORS stay"
    if slurm.conf_text is None:
        yield ByHand(
            f"{place} on the host of slurmctld",
            (
                "a copy of site-config/slurm/job_submit.lua, with",
                f'local PARTITIONS = {{ ["{partition}"] = true }}',
                f'local SERVICE_USER = "{user}"',
            ),
            why,
        )
    elif slurm.plugin_text is None:
        yield WriteFile(place, None, slurm_files.plugin_for(ours, partition, user), why)
    elif slurm_files.PLUGIN_MARK in slurm.plugin_text:
        yield from _renewed(config, place, slurm.plugin_text, ours, why)
    else:
        yield from _called_plugin(config, slurm, place, ours, why)


def _renewed(
    config: SiteConfig, place: Path, there: str, ours: str, why: str
) -> Iterator[Step | ByHand]:
    """A plugin of ours that is there already."""
    text = slurm_files.renewed(ours, there, config.slurm.partition, config.daemon.user)
    if text is None:
        what = "site-config/slurm/job_submit.lua, with the PARTITIONS and OPERATORS of this one"
        yield ByHand(str(place), (what,), "it is an older release's, and theirs cannot be read")
    elif text != there:
        yield WriteFile(place, there, text, why)


def _called_plugin(
    config: SiteConfig, slurm: Slurm, place: Path, ours: str, why: str
) -> Iterator[Step | ByHand]:
    """The site has a job_submit.lua of its own, which is to call ours."""
    partition, user = config.slurm.partition, config.daemon.user
    beside, there = place.with_name(slurm_files.CALLED_PLUGIN), slurm.called_text
    if there is None:
        yield WriteFile(beside, None, slurm_files.plugin_for(ours, partition, user), why)
    else:
        yield from _renewed(config, beside, there, ours, why)
        if slurm.guard is Guard.OLDER:
            yield RunCommand(("touch", str(place)), "slurmctld reads what it calls when it changes")
            return
    yield ByHand(
        f"{place}, before its last line (return slurm.SUCCESS)",
        slurm_files.calling(str(beside)),
        "the site has a job_submit.lua of its own, which asks ef-slurm's first",
    )


def _wanted_lines(config: SiteConfig, slurm: Slurm, nodes: str | None) -> dict[str, str]:
    """Lines of slurm.conf by key that are not in force."""
    lines: dict[str, str] = {}
    settings = slurm.settings
    if "lua" not in settings.job_submit_plugins:
        lines["JobSubmitPlugins"] = "JobSubmitPlugins=lua"
    accounts = "slurmdbd" in settings.settings.get("AccountingStorageType", "")
    if accounts and "job_comment" not in settings.settings.get("AccountingStoreFlags", ""):
        lines["AccountingStoreFlags"] = "AccountingStoreFlags=job_comment"
    name = config.slurm.partition
    if name not in {one.name for one in slurm.partitions}:
        lines["PartitionName"] = _partition_line(name, slurm, nodes)
    return lines


def _partition_line(name: str, slurm: Slurm, nodes: str | None) -> str:
    """A partition of ef-slurm's own, in which a GPU brings its share of the node's CPUs."""
    with_gpus = {node.name: node for node in slurm.nodes if node.gpus}
    if not with_gpus:
        raise InstallationError("Slurm has no node with gres/gpu: nothing to schedule")
    try:
        chosen = expand(nodes) if nodes else tuple(with_gpus)
    except HostlistError as error:
        raise WishError(f"--nodes={nodes}: {error}") from None
    strangers = [node for node in chosen if node not in with_gpus]
    if strangers:
        raise WishError(
            f"--nodes={nodes}: Slurm has no node with GPUs called {compress(strangers)}; it has "
            f"{compress(with_gpus)}"
        )
    parts = [f"PartitionName={name}", f"Nodes={compress(chosen)}", "Default=NO State=UP"]
    parts.append("DefaultTime=01:00:00 MaxTime=INFINITE")
    shares = [_per_gpu(with_gpus[node]) for node in chosen]
    cpus, memory = min(cpus for cpus, _ in shares), min(memory for _, memory in shares)
    if cpus:
        parts.append(f"DefCpuPerGPU={cpus}")
    if memory and slurm.settings.memory_counts:
        parts.append(f"DefMemPerGPU={memory}")
    return " ".join(parts)


def _per_gpu(node: SlurmNode) -> tuple[int, int]:
    """CPUs and MiB of a node per GPU of it, whole; 0 where Slurm does not tell."""
    gpus = sum(gpu.count for gpu in node.gpus)
    return node.cpus // gpus, int(node.memory) // gpus
