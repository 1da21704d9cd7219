"""The site's configuration → how this daemon works."""

from __future__ import annotations

from dataclasses import dataclass, field

from ef_slurm.daemon.act.next_step import Patience
from ef_slurm.daemon.observe.capacity import Ground
from ef_slurm.formats.hostlist import expand
from ef_slurm.model import Policy
from ef_slurm.siteconfig.tables import Serves, SiteConfig
from ef_slurm.slurm.types import HoldKind


@dataclass(frozen=True, slots=True)
class Setup:
    """How this daemon works; `setup_of` makes one of the site's configuration.

    Args:
        query_interval: least seconds between two looks at Slurm.
        tick: seconds between looks while jobs are on their way.
        idle_tick: seconds between looks while nothing is.
        glance: seconds between looks at the files of jobs on their way.
        pulse: seconds between looks at the files of all jobs while none is on its way.
        replan: most seconds between two plans while jobs are active.
        retry: seconds after which a Slurm that did not answer is asked again.
        learn: whether measured overheads and rates replace the told ones.
        advisory: decide and log, act on nothing.
        keep_plans: old plans that stay in the queue.
        uid: whose jobs it may submit again; None for its own.
    """

    ground: Ground
    policy: Policy = field(default_factory=Policy)
    patience: Patience = field(default_factory=Patience)
    hold: HoldKind = HoldKind.ADMIN
    query_interval: float = 1.0
    tick: float = 1.0
    idle_tick: float = 15.0
    glance: float = 0.1
    pulse: float = 1.0
    replan: float = 60.0
    retry: float = 5.0
    learn: bool = True
    advisory: bool = False
    keep_plans: int = 200
    uid: int | None = None


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
