"""A job's own files, read as what they are: hostile.

The state directory belongs to the job's owner, who may put anything there, at any moment: other
bytes, a link, a pipe, a socket, a huge or sparse file. So each file is opened first, in a way that
follows no link and waits for nobody, and looked at afterwards; what is read is what was looked at.
A file system that does not answer can still hold up whoever reads: `workers` does it.
"""

from __future__ import annotations

import os
import stat

from ef_slurm.contract import Companion, ContractError, Launch, Progress
from ef_slurm.contract.decode import MAX_BYTES, Record, decode
from ef_slurm.daemon.observe.job_status import JobReports

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def read_job_reports(state_dir: str, uid: int) -> JobReports:
    """The job's own word. A file that is not there, or is refused, is None; it never raises.

    Args:
        state_dir: as the job was submitted with it.
        uid: of the job's owner, to whom directory and files have to belong.
    """
    try:
        directory = os.open(state_dir, _DIRECTORY)
    except (OSError, ValueError) as error:
        return JobReports(trouble=_cannot(error, "the state directory"))
    troubles: list[str] = []
    try:
        if os.fstat(directory).st_uid != uid:
            return JobReports(trouble="the state directory is not its owner's")
        launch = _read(directory, "launch.json", Launch, uid, troubles)
        progress = _read(directory, "progress.json", Progress, uid, troubles)
        companion = None
        if progress is not None and progress.live:
            companion = _read(directory, "companion.json", Companion, uid, troubles)
    except OSError as error:
        return JobReports(trouble=_cannot(error, "the state directory"))
    finally:
        os.close(directory)
    return JobReports(launch, progress, None, "; ".join(troubles), companion)


def _read(
    directory: int, name: str, kind: type[Record], uid: int, troubles: list[str]
) -> Record | None:
    try:
        descriptor = os.open(name, _FILE, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:  # ELOOP: a link; ENXIO: a socket; EWOULDBLOCK: a lease is held on it
        troubles.append(_cannot(error, name))
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != uid:
            raise ContractError(f"{name}: not a file of the job's owner")
        if found.st_size > MAX_BYTES:
            raise ContractError(f"{name}: more than {MAX_BYTES} bytes")
        return decode(kind, _bytes(descriptor), name)
    except ContractError as error:
        troubles.append(str(error))
    except OSError as error:
        troubles.append(_cannot(error, name))
    finally:
        os.close(descriptor)
    return None


def _bytes(descriptor: int) -> bytes:
    """What the file holds, as far as `decode` wants to see. It may grow while it is read."""
    data = b""
    while len(data) <= MAX_BYTES:
        piece = os.read(descriptor, MAX_BYTES + 1 - len(data))
        if not piece:
            break
        data += piece
    return data


def _cannot(error: OSError | ValueError, what: str) -> str:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{what} cannot be read: {reason}"
