"""Whether this daemon may begin to act: with this queue, and beside no other daemon."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ef_slurm.daemon.observe.claim import Acting, Claim, ClaimFile
from ef_slurm.daemon.observe.ownership import ownership_error
from ef_slurm.daemon.observe.record_files import Records
from ef_slurm.daemon.startup import StartRefusedError
from ef_slurm.model import JobRecord
from ef_slurm.queue.store import Queue
from ef_slurm.slurm.errors import SlurmError
from ef_slurm.slurm.interface import Slurm


def begin(
    queue: Queue, file: ClaimFile, records: Records, slurm: Slurm, *, take_over: bool
) -> Acting:
    """Claim the right to act. Only under the queue's lock.

    Args:
        records: beside the queue; those of jobs that are over in Slurm too, and that this queue
            does not know, are removed.
        take_over: from whoever has it.

    Raises:
        StartRefusedError: another daemon acts, or the queue is not the one that was in use.
        OSError: the directory of orders cannot be had.
    """
    path = queue.path.absolute()
    claim = file.read()
    if not take_over:
        refuse_beside(claim, path)
    if claim is None or claim.queue != queue.identity():
        _refuse_other_queue(queue, claim, records, slurm)
    return Acting(file, file.take(queue.identity(), path, pid=os.getpid()))


def refuse_without_orders(queue: Queue, root: Path, error: OSError) -> None:
    """Refuse to begin without the directory of orders where it was had before.

    Whatever was promised was promised with it. It is away, a file system that is not mounted yet
    say: nothing tells whether another daemon has taken over, and what jobs are told counts again
    when it is back.

    Args:
        root: of orders; `error` why it cannot be had.

    Raises:
        StartRefusedError: it was.
    """
    if queue.promises.has_any():
        raise StartRefusedError(
            f"[jobs] order_root {root} cannot be had, and this queue's promises were given with "
            f"it: {error}. Bring its file system back and start this one again (a service manager "
            "does), or name the directory that is there now"
        )


def refuse_beside(claim: Claim | None, path: Path) -> None:
    """Refuse to act beside another daemon.

    Args:
        claim: the latest; `path` of this daemon's queue, whose lock it has.

    Raises:
        StartRefusedError: another one may be at work.
    """
    if claim is None or claim.stopped is not None:
        return
    if claim.host != socket.gethostname():
        raise StartRefusedError(
            f"{claim.words} may be at work, with the same directory of orders: stop it there "
            "(systemctl stop ef-schedd). Where that host is gone: ef-schedd takeover, and start "
            "this one again; the other one ends when it comes back (docs/operations.md)"
        )
    if claim.path != str(path) and claim.pid and _is_alive(claim.pid):
        raise StartRefusedError(
            f"{claim.words} is at work, with the same directory of orders: stop it, or give each "
            "daemon its own [jobs] order_root"
        )


def _refuse_other_queue(queue: Queue, claim: Claim | None, records: Records, slurm: Slurm) -> None:
    """Refuse a queue that is not the one by which the jobs in Slurm were promised.

    It was lost, or is of the time before another host took over.
    """
    found = records.read(ended=False).records
    unknown = [record for record in found.values() if claim is not None or not _has(queue, record)]
    if not unknown:
        return
    try:
        jobs = slurm.observe().jobs
    except SlurmError as error:
        raise StartRefusedError(
            f"{records.path} has {len(unknown)} jobs that may not be in this queue, and Slurm does "
            f"not say whether there still are any: {error.message}"
        ) from None
    live = []
    for record in unknown:
        job = jobs.get(record.job.request.slurm_job_id)
        if job is not None and not job.is_final and ownership_error(record.job, job) is None:
            live.append(record)
    if live:
        example = live[0].job.request
        raise StartRefusedError(
            f"the queue {queue.path} is not the one with which {len(live)} jobs of Slurm's were "
            f"promised (job {example.slurm_job_id} of {example.owner}, …): make it anew with "
            "ef-schedd rebuild --replace (docs/operations.md)"
        )
    records.forget([record.job.id for record in unknown if not _has(queue, record)])


def _has(queue: Queue, record: JobRecord) -> bool:
    request = record.job.request
    row = queue.jobs.of_slurm(request.slurm_job_id, request.cluster or None)
    return row is not None and row.id == record.job.id and row.request.uid == request.uid


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
