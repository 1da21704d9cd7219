"""The site's configuration → how this daemon works."""

from __future__ import annotations

from ef_slurm.daemon.capacity import Ground
from ef_slurm.daemon.reconcile import Patience
from ef_slurm.daemon.scheduler import Setup
from ef_slurm.siteconfig.tables import Serves, SiteConfig
from ef_slurm.slurm.hostlist import expand
from ef_slurm.slurm.types import HoldKind


def ground_of(config: SiteConfig) -> Ground:
    """Where ef-slurm may schedule."""
    order = tuple(node for switch in config.nodes.switches for node in expand(switch))
    return Ground(
        partitions=frozenset({config.slurm.partition}),
        order=order,
        reservation=config.slurm.reservation,
        gpu_type=config.nodes.gpu_type,
    )


def setup_of(config: SiteConfig, *, advisory: bool = False) -> Setup:
    """The scheduler's settings."""
    timers = config.timers
    # Only an operator's hold keeps an owner from releasing his job.
    operator = config.daemon.serves is Serves.EVERYONE
    return Setup(
        ground=ground_of(config),
        policy=config.policy,
        patience=Patience(acknowledge=timers.acknowledge, save=timers.stop, start=timers.start),
        hold=HoldKind.ADMIN if operator else HoldKind.USER,
        query_interval=config.slurm.query_interval,
        tick=timers.tick,
        idle_tick=timers.idle_tick,
        advisory=advisory,
        keep_plans=config.queue.keep_plans,
    )
