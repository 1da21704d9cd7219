"""`ef-schedd run`: the daemon in the foreground, until it is told to stop."""

from __future__ import annotations

import contextlib
import gc
import getpass
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

from ef_slurm.api.munge import MungeCommand
from ef_slurm.daemon.act.channels import WhileActing, channel_of
from ef_slurm.daemon.act.sender import Sender
from ef_slurm.daemon.act.time_to_act import TimeToAct
from ef_slurm.daemon.acting_slurm import ActingSlurm
from ef_slurm.daemon.beginning import begin, refuse_without_orders
from ef_slurm.daemon.log_fields import about
from ef_slurm.daemon.metrics import Metrics
from ef_slurm.daemon.observe.claim import Acting, ClaimFile
from ef_slurm.daemon.observe.order_files import OrderFiles
from ef_slurm.daemon.observe.record_files import RecordFiles
from ef_slurm.daemon.observe.state_dirs import FileStateDirs
from ef_slurm.daemon.scheduler import Scheduler
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.scheduler_calls import SchedulerCalls
from ef_slurm.daemon.serve.server import Server
from ef_slurm.daemon.serve.visibility import Visibility
from ef_slurm.daemon.settings import limits_of, serve_limits_of, settings_of, web_settings_of
from ef_slurm.daemon.startup import StartRefusedError, refuse_wrong_combinations
from ef_slurm.daemon.status_line import status_line
from ef_slurm.daemon.systemd import Notifier
from ef_slurm.model import ACTOR, Event, EventKind
from ef_slurm.queue.errors import QueueError, TakenOverError
from ef_slurm.queue.owner import DaemonLock
from ef_slurm.queue.store import Queue
from ef_slurm.siteconfig.tables import Serves, SiteConfig
from ef_slurm.slurm.commands.accounting import rights
from ef_slurm.slurm.commands.command_slurm import CommandSlurm
from ef_slurm.slurm.commands.runner import Runner
from ef_slurm.slurm.errors import SlurmError, SlurmUnavailableError
from ef_slurm.slurm.interface import Slurm

QUEUE_POLL_SECONDS = 0.05
"""Seconds between looks for what another process wrote into the queue."""

RETRY_SECONDS = 5.0
"""Seconds before a queue that could not be written is tried again."""

ANSWERS_SECONDS = 0.25
"""For how long what-ifs are answered at most before actions that gave way go on."""

HEARTBEAT_SECONDS = 10.0
"""Seconds between two signs of life in the queue."""

_log = logging.getLogger(__name__)


def run(
    config: SiteConfig,
    *,
    version: str,
    once: bool = False,
    advisory: bool = False,
    take_over: bool = False,
) -> None:
    """Be the daemon until SIGTERM or SIGINT; with `once`, for one tick.

    Args:
        version: of ef-slurm, as clients and the queue are to know it.
        take_over: act although a daemon of another host may be at work; that one ends.

    Raises:
        QueueError: the queue cannot be had (another daemon owns it, a network file system, …).
        TakenOverError: another daemon has taken over.
        ServerError: a socket cannot be had.
        StartRefusedError: it would promise and be denied, or serve nobody.
        SlurmError: with `once`, Slurm does not answer.
    """
    metrics = Metrics(version)
    runner = Runner(
        timeout=config.slurm.timeout,
        directory=config.slurm.commands,
        watch=metrics.slurm_command,
    )
    slurm = CommandSlurm(runner)
    refuse_wrong_combinations(config, slurm, runner, advisory=advisory)
    try:
        pages = web_settings_of(config)
    except LookupError as error:
        raise StartRefusedError(str(error)) from None
    notifier = Notifier(os.environ, time.monotonic)
    path = config.queue.path
    with DaemonLock(path), Queue.open(path) as queue:
        settings = settings_of(config, advisory=advisory)
        acting = None if advisory else _begin(config, queue, slurm, take_over=take_over)
        check = None if acting is None else acting.check
        acts_on = slurm if check is None else ActingSlurm(slurm, check)
        state_dirs = FileStateDirs(OrderFiles(config.order_root), check=check)
        sender, channel = None, channel_of(config.notify, slurm)
        if channel is None:
            queue.notices.set_cursor(None)  # whoever is told later is not told the past
        elif not (advisory or once):
            way = channel if check is None else WhileActing(channel, check)
            sender = Sender(lambda: Queue.open(path, create=False), way, time.time)
        tell = None if sender is None else sender.wake
        records = RecordFiles(config.order_root, check=check)
        if acting is not None:
            records.sweep()
        calls = SchedulerCalls()
        others = Others(queue)
        time_to_act = TimeToAct(lambda: calls.waited_for or others.wrote)
        scheduler = Scheduler(
            settings, acts_on, queue, state_dirs, time.time, tell, records, metrics, time_to_act
        )
        started = time.time()
        _announce(queue, started, version, advisory)
        try:
            if once:
                slurm.configuration()  # its error is more to the point than a silent tick
                scheduler.tick()
                return
            context = ServerContext(
                scheduler=scheduler,
                calls=calls,
                slurm=slurm,
                open_queue=lambda: Queue.open(path, create=False),
                cluster=_cluster(config, slurm),
                partition=config.slurm.partition,
                limits=limits_of(config),
                user=getpass.getuser(),
                version=version,
                started=started,
                advisory=advisory,
                visibility=Visibility(slurm.configuration, lambda user: rights(runner, user)),
                metrics=metrics,
                hanging=lambda: state_dirs.hanging,
            )
            everyone = config.daemon.serves is Serves.EVERYONE
            address = (config.daemon.host, config.daemon.port)
            with Server(
                context,
                MungeCommand(),
                path=config.socket,
                mode=0o666 if everyone else 0o600,
                address=address if everyone and config.daemon.host else None,
                limits=serve_limits_of(config),
                metrics_port=config.metrics.port,
                pages=pages,
            ) as server:
                notifier.ready()
                if sender is not None:
                    sender.start()

                def sign_of_life() -> None:
                    metrics.clock_is(time.time())
                    if server.serves:
                        notifier.alive()
                    notifier.does(
                        lambda: status_line(metrics.seen.jobs, metrics.seconds_since_look)
                    )

                _loop(scheduler, queue, calls, sign_of_life, check, others)
        finally:
            if acting is not None:
                acting.give_up()
            notifier.stopping()
            if sender is not None:
                sender.stop()
            with contextlib.suppress(QueueError):
                _log_daemon_event(queue, "stopped")
                queue.owner.stopped(at=time.time())


def _begin(config: SiteConfig, queue: Queue, slurm: Slurm, *, take_over: bool) -> Acting | None:
    """This daemon's right to act; None where there is no place to leave a word of it."""
    try:
        FileStateDirs(OrderFiles(config.order_root)).make_order_root()
        file, records = ClaimFile(config.order_root), RecordFiles(config.order_root)
        return begin(queue, file, records, slurm, take_over=take_over)
    except OSError as error:
        refuse_without_orders(queue, config.order_root, error)
        _log_daemon_event(
            queue,
            "jobs get no orders, and are asked with TERM alone; nothing is promised, and no other "
            f"daemon is kept from acting beside this one: {error}",
        )
        return None


class Others:
    """Whoever writes into the queue beside the daemon: with one's own, one's own commands."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._version: int | None = None

    def look(self) -> None:
        """What they wrote so far is about to be seen.

        Raises:
            QueueError: the queue cannot be read; until it can, nobody is known to write.
        """
        self._version = None
        self._version = self._queue.data_version()

    @property
    def wrote(self) -> bool:
        """Whether they have written since.

        Raises:
            QueueError: the queue cannot be read.
        """
        return self._version is not None and self._queue.data_version() != self._version


def _loop(
    scheduler: Scheduler,
    queue: Queue,
    calls: SchedulerCalls,
    sign_of_life: Callable[[], None],
    check: Callable[[], None] | None = None,
    others: Others | None = None,
) -> None:
    others = others or Others(queue)
    # What was imported stays: not to be searched for garbage in the midst of a verdict.
    gc.collect()
    gc.freeze()
    with _stop_signals() as stopping:
        heartbeat_at = 0.0
        while not stopping:
            began = time.monotonic()
            sign_of_life()
            try:
                others.look()
                if calls.begin_tick():
                    scheduler.refresh_soon()
                seconds = scheduler.tick() if _may_act(check) else RETRY_SECONDS
                _answer(calls, ANSWERS_SECONDS if scheduler.gave_way else 0.0)
                if time.monotonic() >= heartbeat_at + HEARTBEAT_SECONDS:
                    queue.owner.seen(at=time.time())
                    heartbeat_at = time.monotonic()
            except TakenOverError:
                raise
            except QueueError as error:
                _log.error("the queue: %s", error)
                seconds = RETRY_SECONDS
            if not scheduler.gave_way:
                # However much there is to do, half of the time is somebody else's. Actions see to
                # that themselves.
                seconds = max(seconds, time.monotonic() - began - scheduler.acted)
            _rest(seconds, others, calls, stopping, sign_of_life)


def _answer(calls: SchedulerCalls, seconds: float) -> None:
    """Answer what-ifs for so long, if there are as many.

    One at least, or whoever keeps waking the scheduler keeps all others waiting.
    """
    end = time.monotonic() + seconds
    while calls.answer_one() and time.monotonic() < end:
        pass


def _may_act(check: Callable[[], None] | None) -> bool:
    """Whether this daemon acts, or nobody can say.

    Raises:
        TakenOverError: another one does.
    """
    try:
        if check is not None:
            check()
    except SlurmUnavailableError as error:
        _log.error("nothing is done until it is known who is to: %s", error.message)
        return False
    return True


def _rest(
    seconds: float,
    others: Others,
    calls: SchedulerCalls,
    stopping: list[int],
    sign_of_life: Callable[[], None],
) -> None:
    """Sleep until something is due, somebody rings, or another process writes the queue.

    What was written during the tick counts.
    """
    end = time.monotonic() + seconds
    try:
        while not stopping:
            sign_of_life()
            left = end - time.monotonic()
            if left <= 0 or calls.tick_wanted:
                return
            if not calls.answer_one():
                calls.wait(min(left, QUEUE_POLL_SECONDS))
            if others.wrote:
                return
    except QueueError as error:
        _log.error("the queue: %s", error)
        time.sleep(min(seconds, RETRY_SECONDS))


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that is empty until the process is told to stop."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _announce(queue: Queue, at: float, version: str, advisory: bool) -> None:
    queue.owner.started(at=at, version=version)
    unfinished = len(queue.intents.unfinished())
    mode = ", advisory: it acts on nothing" if advisory else ""
    found = f"; {unfinished} actions were under way" if unfinished else ""
    _log_daemon_event(queue, f"started{mode}{found}")


def _log_daemon_event(queue: Queue, message: str) -> None:
    _log.info("%s", message, extra=about(None, EventKind.DAEMON))
    queue.events.log(Event(time.time(), EventKind.DAEMON, ACTOR, message))


def _cluster(config: SiteConfig, slurm: Slurm) -> str:
    if config.slurm.cluster:
        return config.slurm.cluster
    try:
        return slurm.configuration().cluster
    except SlurmError as error:
        _log.warning("Slurm does not say what the cluster is called: %s", error.message)
        return ""
