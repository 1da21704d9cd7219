"""The tables of the site configuration, with their defaults.

`site-config/ef-slurm.toml` lists the same keys with the same defaults for people (a test holds
that). Durations are seconds.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path

from ef_slurm.model import LaunchSettings, Overhead, Policy, QueueLimits


def _home(below: str) -> Path:
    return Path("~").expanduser() / below


class Serves(enum.Enum):
    """Whom the daemon serves."""

    ME = "me"  # the user that runs it: commands on the same host open the queue themselves
    EVERYONE = "everyone"  # a site: commands ask the daemon


@dataclass(frozen=True, slots=True)
class SlurmTable:
    """[slurm]: where ef-slurm works and how it asks.

    Args:
        partition: the one that ef-slurm schedules.
        reservation: the one whose nodes it may use; "" for none.
        cluster: Slurm's ClusterName; "" for whatever Slurm says.
        commands: directory of sbatch, scontrol, …; None to search PATH.
        timeout: seconds for one command.
        query_interval: least seconds between two observations of the cluster.
    """

    partition: str = "ef"
    reservation: str = ""
    cluster: str = ""
    commands: Path | None = None
    timeout: float = 10.0
    query_interval: float = 1.0


@dataclass(frozen=True, slots=True)
class NodesTable:
    """[nodes]: the order in which blocks of nodes are aligned.

    Args:
        switches: a host list per switch, in order; () for Slurm's own order of nodes.
        gpu_type: what GPUs are called whose gres names no type.
    """

    switches: tuple[str, ...] = ()
    gpu_type: str = "gpu"


@dataclass(frozen=True, slots=True)
class QueueTable:
    """[queue].

    Args:
        path: of the SQLite file, on a local disk of the daemon's host.
        keep_plans: how many old plans are kept.
        keep_ended_days: days after which an ended job is forgotten, with its script, its promise
            and its events; events of no job go after the same time. 0: never.
        keep_never_run_days: the same for jobs that never ran: refused, withdrawn, or cancelled
            while they waited. 0: as the others.
    """

    path: Path = field(default_factory=lambda: _home(".local/state/ef-slurm/queue.sqlite"))
    keep_plans: int = 200
    keep_ended_days: float = 90.0
    keep_never_run_days: float = 2.0


@dataclass(frozen=True, slots=True)
class DaemonTable:
    """[daemon]: how it is reached.

    Args:
        serves: one person or everybody.
        user: whose daemon is trusted (serves = "everyone").
        socket: UNIX socket on the daemon's host; None for `ef-schedd.sock` beside the queue.
        host: where other login nodes reach it over TCP; "" for nowhere.
        port: of TCP.
    """

    serves: Serves = Serves.ME
    user: str = "ef-slurm"
    socket: Path | None = None
    host: str = ""
    port: int = 6830


@dataclass(frozen=True, slots=True)
class ApiTable:
    """[api]: how much may be asked of the daemon. What goes beyond is told to come again.

    Args:
        connections: open at a time in all; each user gets four beyond that.
        connections_per_user: of one user at a time.
        request_seconds: for a request to arrive in full.
        requests_per_second: of one user in the long run; five times as many at once.
        what_ifs_per_minute: verdicts without a submission (`ef-sbatch --test-only`), of one user.
    """

    connections: int = 512
    connections_per_user: int = 64
    request_seconds: float = 10.0
    requests_per_second: float = 20.0
    what_ifs_per_minute: float = 60.0


@dataclass(frozen=True, slots=True)
class MetricsTable:
    """[metrics]: what Prometheus reads.

    Args:
        port: on the loopback of the daemon's host; 0 for none.
    """

    port: int = 0


@dataclass(frozen=True, slots=True)
class WebTable:
    """[web]: the page for browsers, which the UNIX socket has in any case.

    Args:
        host: address on which it listens for browsers or for the site's proxy; "" for none.
        port: of TCP.
        names: under which browsers know this host or the proxy, beside localhost.
        user_header: field of a request in which the site's proxy names the user; "" for no proxy.
        proxy_user: whose connections to the UNIX socket are the proxy's; "" for nobody's.
        proxies: addresses of other hosts whose connections to `host` are the proxy's.
    """

    host: str = ""
    port: int = 6831
    names: tuple[str, ...] = ()
    user_header: str = ""
    proxy_user: str = ""
    proxies: tuple[str, ...] = ()


class PerGpuRule(enum.Enum):
    """What comes with each GPU of a job whose owner says nothing."""

    FAIR = "fair"  # the site's DefCpuPerGPU or DefMemPerGPU, else the GPU's share of its node
    SLURM = "slurm"  # nothing is asked for: whatever Slurm gives


@dataclass(frozen=True, slots=True)
class JobsTable:
    """[jobs]: what ef-sbatch makes of a submission.

    Args:
        state_root: under it each job gets its state directory; on a file system that login nodes,
            compute nodes and the daemon share.
        order_root: under it the daemon leaves each job's orders; on the same file system, and
            writable by the daemon's user alone. None for `orders` beside `state_root`.
        profiles: directories of throughput curves, the first match counts.
        verdict_wait: seconds for which ef-sbatch waits for the verdict.
        keep_state_days: days after which the state directory of a job that has ended may go: its
            owner's next ef-sbatch removes it. 0: only `ef-scontrol purge` does.
        cpus_per_gpu: for jobs whose owner names no number.
        memory_per_gpu: the same in MiB, where Slurm gives memory to jobs.
    """

    state_root: Path = field(default_factory=lambda: _home(".ef-slurm/jobs"))
    order_root: Path | None = None
    profiles: tuple[Path, ...] = field(
        default_factory=lambda: (
            _home(".config/ef-slurm/profiles"),
            Path("/etc/ef-slurm/profiles"),
        )
    )
    verdict_wait: float = 30.0
    keep_state_days: float = 0.0
    cpus_per_gpu: int | PerGpuRule = PerGpuRule.FAIR
    memory_per_gpu: int | PerGpuRule = PerGpuRule.FAIR


@dataclass(frozen=True, slots=True)
class ProfilesTable:
    """[profiles]: the profile library.

    Args:
        keep_days: days after which a rate that was measured is forgotten. 0: never.
    """

    keep_days: float = 180.0


class NotifyBy(enum.Enum):
    """How a job's owner is told what `--mail-type` asks for."""

    MAIL = "mail"  # slurm.conf's MailProg
    COMMAND = "command"
    WEBHOOK = "webhook"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class NotifyTable:
    """[notify]: who tells a job's owner what becomes of it.

    Args:
        command: with its arguments; gets a notice as JSON on standard input.
        webhook: the file whose first line is the web address that gets it as JSON.
        timeout: seconds for one notice.
    """

    by: NotifyBy = NotifyBy.MAIL
    command: tuple[str, ...] = ()
    webhook: Path | None = None
    timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class TimersTable:
    """[timers]: how patient the daemon is.

    Args:
        tick: between two observations while something goes on.
        idle_tick: while nothing does.
        acknowledge: for a job to acknowledge an order; then it is requeued anyway.
        stop: for a checkpoint to be written after that.
        start: for a released job to be seen running.
        prepare: for a batch script to submit a companion, from the order.
        gather: for a companion's ranks to be ready, from its start.
        resize: for a launch to change its size, from the order. After any of the last three the job
            keeps what it has.
        ready: for the next launch of a job that is to give up nodes to be ready on those that it
            keeps, while it trains; then it is stopped first. 0: always.
        first_iteration: for a launch to end its first iteration.
        stalled: for the next iteration to end, while a job trains.
        evaluation: for an evaluation that the training tells of to end. After any of the last three
            the job gives its GPUs back and loses its promise. 0: never.
    """

    tick: float = 1.0
    idle_tick: float = 15.0
    acknowledge: float = 30.0
    stop: float = 300.0
    start: float = 60.0
    prepare: float = 90.0
    gather: float = 300.0
    resize: float = 60.0
    ready: float = 0.0
    first_iteration: float = 3600.0
    stalled: float = 1800.0
    evaluation: float = 7200.0


@dataclass(frozen=True, slots=True)
class Tables:
    """What a file may hold.

    `launch`, `policy`, `overhead` and `limits` are the model's own: how jobs are started unless
    ef-sbatch is given something else, the planner's policy, the overhead of jobs of which nothing
    better is known, and what one user or account may have.
    """

    slurm: SlurmTable = field(default_factory=SlurmTable)
    nodes: NodesTable = field(default_factory=NodesTable)
    queue: QueueTable = field(default_factory=QueueTable)
    daemon: DaemonTable = field(default_factory=DaemonTable)
    api: ApiTable = field(default_factory=ApiTable)
    metrics: MetricsTable = field(default_factory=MetricsTable)
    web: WebTable = field(default_factory=WebTable)
    jobs: JobsTable = field(default_factory=JobsTable)
    profiles: ProfilesTable = field(default_factory=ProfilesTable)
    launch: LaunchSettings = field(default_factory=LaunchSettings)
    policy: Policy = field(default_factory=Policy)
    overhead: Overhead = field(
        default_factory=lambda: Overhead(
            start=30.0, grow=30.0, shrink=20.0, move=30.0, restart=30.0
        )
    )
    timers: TimersTable = field(default_factory=TimersTable)
    notify: NotifyTable = field(default_factory=NotifyTable)
    limits: QueueLimits = field(default_factory=QueueLimits)


@dataclass(frozen=True, slots=True)
class SiteConfig(Tables):
    """All of it. `path` is the file that it came from, None for the built-in defaults."""

    path: Path | None = None

    @property
    def socket(self) -> Path:
        """The daemon's UNIX socket."""
        return self.daemon.socket or self.queue.path.with_name("ef-schedd.sock")

    @property
    def order_root(self) -> Path:
        """Where the daemon leaves its orders."""
        return self.jobs.order_root or self.jobs.state_root.with_name("orders")
