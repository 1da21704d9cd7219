"""The site's configuration → how this daemon works."""

from __future__ import annotations

import math
import pwd
from dataclasses import dataclass, field, replace

from ef_slurm.daemon.act.conditions import Timeouts
from ef_slurm.daemon.observe.capacity import ResourceScope
from ef_slurm.daemon.observe.stalls import StallLimits
from ef_slurm.daemon.serve.limits import ServeLimits
from ef_slurm.daemon.serve.web.access import WebSettings
from ef_slurm.formats.hostlist import expand
from ef_slurm.model import Policy, QueueLimits
from ef_slurm.siteconfig.tables import Serves, SiteConfig
from ef_slurm.slurm.types import HoldKind

NO_LIMITS = QueueLimits(
    jobs=0,
    jobs_per_user=0,
    jobs_per_account=0,
    submissions_per_hour=0,
    gpu_hours_per_user=0.0,
    gpu_hours_per_account=0.0,
)
"""As much as anybody likes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How this daemon works; `settings_of` makes one of the site's configuration.

    Args:
        query_interval: least seconds between two looks at Slurm.
        tick_interval: seconds between looks while jobs are on their way.
        idle_interval: seconds between looks while nothing is.
        report_interval: seconds between looks at the files of jobs on their way.
        progress_interval: least seconds between looks at the files of all other jobs that run.
        idle_report_interval: the same of all jobs while none is on its way.
        replan_interval: most seconds between two plans while jobs are active.
        retry_interval: seconds after which a Slurm that did not answer is asked again.
        learn: whether measured overheads and rates replace the told ones.
        advisory: decide and log, act on nothing.
        keep_plans: old plans that stay in the queue.
        keep_ended: seconds for which ended jobs stay in the queue; `inf` for ever.
        keep_never_run: the same for jobs that never ran.
        keep_profiles: seconds for which measured rates stay in the library; `inf` for ever.
        stall_limits: how long a job may hold GPUs without training.
        uid: whose jobs it may submit again; None for its own.
        limits: what one user and one account may have.
    """

    scope: ResourceScope
    policy: Policy = field(default_factory=Policy)
    timeouts: Timeouts = field(default_factory=Timeouts)
    hold: HoldKind = HoldKind.ADMIN
    query_interval: float = 1.0
    tick_interval: float = 1.0
    idle_interval: float = 15.0
    report_interval: float = 0.1
    progress_interval: float = 1.0
    idle_report_interval: float = 1.0
    replan_interval: float = 60.0
    retry_interval: float = 5.0
    learn: bool = True
    advisory: bool = False
    keep_plans: int = 200
    keep_ended: float = math.inf
    keep_never_run: float = math.inf
    keep_profiles: float = math.inf
    stall_limits: StallLimits = field(default_factory=StallLimits)
    uid: int | None = None
    limits: QueueLimits = NO_LIMITS


def scope_of(config: SiteConfig) -> ResourceScope:
    """Where ef-slurm may schedule."""
    order = tuple(node for switch in config.nodes.switches for node in expand(switch))
    return ResourceScope(
        partitions=frozenset({config.slurm.partition}),
        order=order,
        reservation=config.slurm.reservation,
        gpu_type=config.nodes.gpu_type,
    )


def limits_of(config: SiteConfig) -> QueueLimits:
    """What one user and one account may have."""
    if config.daemon.serves is Serves.EVERYONE:
        return config.limits
    given = config.limits
    return replace(
        NO_LIMITS,
        gpus_per_job=given.gpus_per_job,
        gpus_per_user=given.gpus_per_user,
        gpus_per_account=given.gpus_per_account,
        gpu_hours_per_user=given.gpu_hours_per_user or 0.0,
        gpu_hours_per_account=given.gpu_hours_per_account or 0.0,
    )


def settings_of(config: SiteConfig, *, advisory: bool = False) -> Settings:
    """The scheduler's settings."""
    timers = config.timers
    # Only an operator's hold keeps an owner from releasing their job.
    operator = config.daemon.serves is Serves.EVERYONE
    return Settings(
        scope=scope_of(config),
        policy=config.policy,
        timeouts=Timeouts(
            acknowledge=timers.acknowledge,
            save=timers.stop,
            start=timers.start,
            prepare=timers.prepare,
            gather=timers.gather,
            resize=timers.resize,
            ready=timers.ready,
        ),
        hold=HoldKind.ADMIN if operator else HoldKind.USER,
        query_interval=config.slurm.query_interval,
        stall_limits=StallLimits(
            first_iteration=timers.first_iteration or math.inf,
            stalled=timers.stalled or math.inf,
            evaluation=timers.evaluation or math.inf,
        ),
        tick_interval=timers.tick,
        idle_interval=timers.idle_tick,
        advisory=advisory,
        keep_plans=config.queue.keep_plans,
        keep_ended=86400.0 * config.queue.keep_ended_days or math.inf,
        keep_never_run=86400.0 * config.queue.keep_never_run_days or math.inf,
        keep_profiles=86400.0 * config.profiles.keep_days or math.inf,
        limits=limits_of(config),
    )


def serve_limits_of(config: SiteConfig) -> ServeLimits:
    """How much may be asked of the daemon."""
    api = config.api
    return ServeLimits(
        connections=api.connections,
        connections_per_user=api.connections_per_user,
        unauthenticated_per_address=api.connections_per_user,
        request_seconds=api.request_seconds,
        requests_per_second=api.requests_per_second,
        burst=max(1.0, 5.0 * api.requests_per_second),
        what_ifs_per_minute=api.what_ifs_per_minute,
    )


def web_settings_of(config: SiteConfig) -> WebSettings:
    """Who may see the page for browsers.

    Raises:
        LookupError: this host does not know the proxy's user; the text says which.
    """
    web = config.web
    proxy: int | None = None
    if web.proxy_user:
        try:
            proxy = pwd.getpwnam(web.proxy_user).pw_uid
        except KeyError:
            told = f"{config.path}: web.proxy_user: there is no user {web.proxy_user!r} here"
            raise LookupError(told) from None
    own = {web.host} if web.host else set[str]()
    return WebSettings(
        address=(web.host, web.port) if web.host else None,
        names=frozenset(name.lower() for name in {*web.names, *own}),
        user_header=web.user_header,
        proxy_uid=proxy,
        proxies=frozenset(web.proxies),
    )
