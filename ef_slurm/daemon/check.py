"""`ef-schedd check`: does the site's configuration fit what Slurm and this host say?"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from ef_slurm.api.client import Client
from ef_slurm.api.munge import Munge, MungeCommand, MungeError
from ef_slurm.daemon.check_metrics import check_metrics
from ef_slurm.daemon.check_notify import check_notify
from ef_slurm.daemon.check_records import check_records
from ef_slurm.daemon.check_service import (
    check_address,
    check_daemon,
    check_guard,
    check_order_root,
    check_queue,
    check_rights,
    check_site_file,
    check_state_root,
    is_daemons_host,
)
from ef_slurm.daemon.check_web import check_web
from ef_slurm.daemon.findings import Finding, Level
from ef_slurm.daemon.observe.capacity import cluster_of
from ef_slurm.daemon.settings import scope_of
from ef_slurm.launch import LaunchRequest, TemplateProblemError, render
from ef_slurm.model import ModelError
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.tables import PerGpuRule, SiteConfig
from ef_slurm.slurm.commands.accounting import admin_level
from ef_slurm.slurm.commands.command_slurm import CommandSlurm
from ef_slurm.slurm.commands.runner import Runner
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.guard import Guard, guard_of
from ef_slurm.slurm.interface import Slurm
from ef_slurm.slurm.site_types import SlurmConfiguration, SlurmPartition
from ef_slurm.slurm.types import Observation

OLDEST = (22, 5, 0)
SHORT_KILL_WAIT_SECONDS = 15.0
"""A KillWait below this may end a job before its checkpoint is written."""
SHORT_JOB_AGE_SECONDS = 60.0
"""With a MinJobAge below this an ended job may be purged before it is seen."""
CLOCK_TOLERANCE_SECONDS = 2.0
"""By how much Slurm's clock may be ahead of this host's."""


def check(config: SiteConfig, connect: Callable[[], Client]) -> tuple[Finding, ...]:
    """Everything that can be checked from here.

    Args:
        connect: the way to the daemon.
    """
    runner = Runner(timeout=config.slurm.timeout, directory=config.slurm.commands)
    slurm, user, now = CommandSlurm(runner), Account.own(), time.time()
    try:
        settings: SlurmConfiguration | None = slurm.configuration()
    except SlurmError:
        settings = None  # `check_slurm` says so
    guard = Guard.UNKNOWN if settings is None else guard_of(slurm, config.slurm.partition)
    return (
        *check_site_file(config, user),
        *check_slurm(config, slurm, now, guard),
        *check_rights(config, admin_level(runner, config.daemon.user), settings),
        *check_queue(config, user),
        *check_state_root(config),
        check_order_root(config),
        *check_records(config, user, socket.gethostname()),
        *check_launch(config),
        check_notify(config, None if settings is None else settings.settings, user),
        *(check_munge(MungeCommand()) if config.daemon.host else ()),
        *check_address(config),
        *check_web(config, socket.gethostname()),
        *check_daemon(config, connect, now),
        check_metrics(config.metrics.port, config.socket, here=is_daemons_host(config)),
    )


def check_slurm(config: SiteConfig, slurm: Slurm, now: float, guard: Guard) -> Iterator[Finding]:
    """What slurmctld says."""
    try:
        settings = slurm.configuration()
        partitions = slurm.partitions()
        observation = slurm.observe()
    except SlurmError as error:
        yield Finding(Level.ERROR, "Slurm", f"does not answer: {error.message}")
        return
    version = ".".join(str(part) for part in settings.version)
    if settings.version < OLDEST:
        yield Finding(Level.ERROR, "Slurm", f"version {version}: 22.05 or newer is needed")
    else:
        yield Finding(Level.OK, "Slurm", f"version {version}, cluster {settings.cluster}")
    if config.slurm.cluster and config.slurm.cluster != settings.cluster:
        yield Finding(
            Level.ERROR,
            "slurm.cluster",
            f"{config.slurm.cluster!r} is configured, Slurm calls itself {settings.cluster!r}",
        )
    yield from _settings(settings)
    yield check_guard(config, settings, guard)
    yield _partition(config, partitions)
    yield from check_memory(config, settings, partitions)
    yield from _nodes(config, observation)
    yield _clock(observation, now)


def _settings(settings: SlurmConfiguration) -> Iterator[Finding]:
    if settings.job_requeue:
        yield Finding(Level.OK, "JobRequeue", "jobs may be requeued")
    else:
        yield Finding(
            Level.WARNING,
            "JobRequeue",
            "is 0: only jobs submitted with --requeue (ef-sbatch does) come back after a failure",
        )
    wait = f"{settings.kill_wait:g} s between TERM and KILL"
    if settings.kill_wait < SHORT_KILL_WAIT_SECONDS:
        yield Finding(
            Level.WARNING,
            "KillWait",
            f"{wait}: a job that is requeued without having been asked must checkpoint within it",
        )
    else:
        yield Finding(Level.OK, "KillWait", wait)
    if settings.min_job_age < SHORT_JOB_AGE_SECONDS:
        yield Finding(
            Level.WARNING,
            "MinJobAge",
            f"{settings.min_job_age:g} s: a daemon that is down for longer does not see how jobs "
            "ended (then their own reports count)",
        )
    select = settings.settings.get("SelectType", "")
    if "cons_tres" not in select:
        yield Finding(
            Level.ERROR, "SelectType", f"{select or 'unknown'}: GPUs need select/cons_tres"
        )
    if "disable_job_shrink" in settings.settings.get("SchedulerParameters", ""):
        yield Finding(
            Level.WARNING,
            "SchedulerParameters",
            "disable_job_shrink: jobs cannot give up nodes in place, each shrink is a requeue",
        )


def check_memory(
    config: SiteConfig, settings: SlurmConfiguration, partitions: Iterable[SlurmPartition]
) -> Iterator[Finding]:
    """Where Slurm gives memory to jobs: what a job gets that asks for none."""
    if not settings.memory_counts:
        return
    named = [one for one in partitions if one.name == config.slurm.partition]
    if settings.default_memory or any(one.default_memory for one in named):
        yield Finding(Level.OK, "DefMemPerGPU", "a job that asks for no memory gets a part of it")
        return
    ours = config.jobs.memory_per_gpu is not PerGpuRule.SLURM
    yield Finding(
        Level.WARNING,
        "DefMemPerGPU",
        f"is not set for the partition {config.slurm.partition}, and Slurm gives memory to jobs "
        f"({settings.settings['SelectTypeParameters']}): a job that asks for none takes all of its "
        "node. Add DefMemPerGPU=MEGABYTES to the partition's line in slurm.conf"
        + ("; ef-sbatch asks for a GPU's share by itself, sbatch does not" if ours else ""),
    )


def _partition(config: SiteConfig, partitions: tuple[SlurmPartition, ...]) -> Finding:
    name = config.slurm.partition
    found = next((one for one in partitions if one.name == name), None)
    if found is None:
        known = ", ".join(one.name for one in partitions)
        return Finding(Level.ERROR, "slurm.partition", f"Slurm has no {name!r}; it has {known}")
    if not found.up:
        return Finding(Level.ERROR, "slurm.partition", f"{name} is not up: nothing starts there")
    return Finding(Level.OK, "slurm.partition", f"{name}, {len(found.nodes)} nodes")


def _nodes(config: SiteConfig, observation: Observation) -> Iterator[Finding]:
    wanted = config.slurm.reservation
    if wanted and wanted not in {one.name for one in observation.reservations}:
        yield Finding(Level.ERROR, "slurm.reservation", f"Slurm has no reservation {wanted!r}")
        return
    scope = scope_of(config)
    try:
        cluster = cluster_of(observation, scope, ())
    except ModelError as error:
        yield Finding(Level.ERROR, "nodes", str(error))
        return
    if not cluster.groups:
        yield Finding(
            Level.ERROR,
            "nodes",
            f"partition {config.slurm.partition} has no node with gres/gpu: nothing to schedule",
        )
    for group in cluster.groups:
        down = [node.name for node in observation.nodes if not node.usable]
        unusable = [node.name for node in group.nodes if node.name in down]
        text = f"{len(group.nodes)} nodes with {group.gpus_per_node} GPUs ({group.gpu_type})"
        if unusable:
            yield Finding(Level.WARNING, "nodes", f"{text}; not usable now: {','.join(unusable)}")
        else:
            yield Finding(Level.OK, "nodes", text)
    names = {node.name for node in observation.nodes}
    unknown = [name for name in scope.order if name not in names]
    if unknown:
        yield Finding(
            Level.ERROR, "nodes.switches", f"Slurm has no nodes called {','.join(unknown)}"
        )


def _clock(observation: Observation, now: float) -> Finding:
    """Slurm's stamps come from slurmctld's clock."""
    latest = max(
        (job.submit_time for job in observation.jobs.values() if job.submit_time is not None),
        default=None,
    )
    if latest is not None and latest > now + CLOCK_TOLERANCE_SECONDS:
        return Finding(
            Level.WARNING,
            "clock",
            f"slurmctld's clock is at least {latest - now:.0f} s ahead of this host's: deadlines "
            "and time limits will be off by as much",
        )
    return Finding(Level.OK, "clock", "not behind slurmctld's")


def check_launch(config: SiteConfig) -> Iterator[Finding]:
    """Whether the site's template makes a batch script of what every job is started with."""
    request = LaunchRequest(
        ("train.py",), str(config.jobs.state_root / "check"), str(config.order_root / "check"), 1, 1
    )
    template = config.launch.template
    try:
        render(replace(request, settings=config.launch))
    except (ModelError, TemplateProblemError) as error:
        yield Finding(Level.ERROR, "launch", f"no job can be submitted: {error}")
    else:
        yield Finding(
            Level.OK, "launch", f"batch scripts from {template or 'the shipped template'}"
        )


def check_munge(munge: Munge) -> Iterator[Finding]:
    """Whether requests over TCP can be believed."""
    try:
        identity = munge.decode(munge.encode("ef-schedd check"))
    except MungeError as error:
        yield Finding(Level.ERROR, "munge", f"requests over TCP will be refused: {error}")
        return
    if identity.uid == os.getuid():
        yield Finding(Level.OK, "munge", "makes and checks credentials")
    else:
        yield Finding(Level.ERROR, "munge", f"says that this is uid {identity.uid}")
