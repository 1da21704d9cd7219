"""Sends notices, in a thread of its own with a queue of its own: no tick waits for a mail server.

Each notice is marked as on its way, on disk, before it is handed over, and as sent afterwards. So a
kill leaves at most the one in hand unknown, which is sent once more; nothing is ever sent thrice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ef_slurm.daemon.act.channels import Channel, DeliveryError, Letter
from ef_slurm.daemon.log_fields import about
from ef_slurm.formats.named_jobs import without_jobs
from ef_slurm.formats.printing import printable, shortened
from ef_slurm.formats.times import format_host_instant, format_host_iso
from ef_slurm.model import ACTOR, Event, EventKind, Notice, NoticeKind, QueueJob, is_address
from ef_slurm.queue.errors import NoSuchRowError, QueueError
from ef_slurm.queue.store import Queue

_log = logging.getLogger(__name__)

MOST_TRIES = 2
AGAIN_SECONDS = 60.0
"""After which one that failed is tried a second time."""
POLL_SECONDS = 15.0
"""Between looks for what is due, where nobody wakes it."""
LONGEST_NAME = 60
LONGEST_MESSAGE = 1000

WORDS: dict[NoticeKind, str] = {
    NoticeKind.BEGIN: "has begun to train",
    NoticeKind.END: "has ended",
    NoticeKind.FAIL: "has failed",
    NoticeKind.REQUEUE: "is started again",
    NoticeKind.PROMISED: "is promised its deadline",
    NoticeKind.AT_RISK: "is at risk of missing its deadline",
    NoticeKind.LATE: "has missed its deadline",
    NoticeKind.KEPT: "has kept its deadline",
}


def letter_of(notice: Notice, job: QueueJob) -> Letter:
    """A notice in words."""
    request = job.request
    name, owner = _line(request.name, LONGEST_NAME), _line(request.owner, LONGEST_NAME)
    what = WORDS[notice.kind]
    deadline = request.deadline
    to = tuple(address for address in request.mail_user.split(",") if is_address(address))
    lines = (
        f"Job {request.slurm_job_id} ({name}) of {owner} {what}.",
        f"At {format_host_instant(notice.at)}: {_line(notice.message, LONGEST_MESSAGE)}",
        "Deadline: " + ("none" if deadline is None else format_host_instant(deadline)),
        f"More: ef-squeue --explain {request.slurm_job_id}",
    )
    fields: dict[str, Any] = {
        "kind": notice.kind.name,
        "job_id": request.slurm_job_id,
        "name": request.name,
        "owner": request.owner,
        "account": request.account,
        "to": list(to) or [request.owner],
        "at": format_host_iso(notice.at),
        "deadline": None if deadline is None else format_host_iso(deadline),
        "state": job.state.value,
        "message": notice.message,
        "try": notice.tries,
    }
    subject = f"ef-slurm: job {request.slurm_job_id} ({name}) {what}"
    return Letter(to, request.owner, subject, lines, fields)


def _for_its_owner(queue: Queue, notice: Notice, job: QueueJob) -> Notice:
    """The notice without the numbers of other people's jobs.

    It goes to any address, by way of other people's servers: those who may see them have
    `ef-squeue --explain`.
    """

    def is_theirs(job_id: int) -> bool:
        other = queue.jobs.of_slurm(job_id)
        return other is not None and other.request.uid == job.request.uid

    return replace(notice, message=without_jobs(notice.message, is_theirs))


def _line(text: str, most: int) -> str:
    return shortened(printable(text), most)


class Sender:
    """Sends what is due. Its own thread only, but for `wake` and `stop`."""

    def __init__(
        self,
        open_queue: Callable[[], Queue],
        channel: Channel,
        clock: Callable[[], float],
    ) -> None:
        self._open_queue = open_queue
        self._channel = channel
        self._clock = clock
        self._served = -1
        self._woken = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new. Any thread."""
        self._woken.set()

    def stop(self, seconds: float = 2.0) -> None:
        """End, after the notice in hand if that does not take longer. Any thread."""
        self._stopping = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping:
            try:
                with self._open_queue() as queue:
                    self.recover(queue)
                    while not self._stopping:
                        self._woken.clear()
                        if not self.send_one(queue):
                            due = queue.notices.next_due()
                            left = POLL_SECONDS if due is None else due - self._clock()
                            self._woken.wait(min(max(left, 0.1), POLL_SECONDS))
            except QueueError as error:
                _log.error("notices: the queue: %s", error)
            except Exception:
                _log.exception("notices")
            self._woken.wait(POLL_SECONDS)

    def recover(self, queue: Queue) -> None:
        """What was in hand when the daemon was killed is sent once more."""
        for notice in queue.notices.recover(MOST_TRIES):
            self._tell(queue, notice, "ef-schedd ended while it was sent")

    def send_one(self, queue: Queue) -> bool:
        """Send the next one that is due; False for none."""
        notice = queue.notices.claim(self._clock(), after=self._served)
        if notice is None:
            return False
        try:
            job = queue.jobs.get(notice.job_id)
            self._served = job.request.uid
            self._channel.send(letter_of(_for_its_owner(queue, notice, job), job))
        except NoSuchRowError:
            return True  # forgotten with its job
        except DeliveryError as error:
            self._failed(queue, notice, str(error))
        except QueueError:
            raise
        except Exception as error:
            _log.exception("notice %d", notice.id)
            self._failed(queue, notice, f"{type(error).__name__}: {error}")
        else:
            queue.notices.sent(notice.id)
        return True

    def _failed(self, queue: Queue, notice: Notice, why: str) -> None:
        again = self._clock() + AGAIN_SECONDS if notice.tries < MOST_TRIES else None
        queue.notices.failed(notice.id, why, again_at=again)
        if again is None:
            self._tell(queue, notice, why)
        else:
            job = queue.jobs.get(notice.job_id)
            words = f"{notice.kind.name} could not be told to its owner yet: {why}"
            about_it = about(job, EventKind.ERROR)
            _log.warning("job %d: %s", job.request.slurm_job_id, words, extra=about_it)

    def _tell(self, queue: Queue, notice: Notice, why: str) -> None:
        words = f"{notice.kind.name} was not told to its owner: {why}"
        job = queue.jobs.get(notice.job_id)
        about_it = about(job, EventKind.ERROR)
        _log.error("job %d: %s", job.request.slurm_job_id, words, extra=about_it)
        queue.events.log(Event(self._clock(), EventKind.ERROR, ACTOR, words, notice.job_id))
