"""The log as systemd's journal keeps it: lines with fields (`journalctl EF_JOB_ID=4711`).

journald's own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL) is one datagram for each line: that is
less than a compiled library would need to be installed for. Without a journal the log goes to
standard error as text.
"""

from __future__ import annotations

import logging
import os
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from ef_slurm.formats.printing import LONGEST_LOG_LINE, LogFormatter, printable, shortened

SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "ef-schedd"
SEND_SECONDS = 1.0
"""For how long a journal that does not read may hold up whoever logs."""
_PREFIX = "EF_"
"""Of the attributes of a record that become fields."""
_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
_DEBUG = 7


def log_handler(environment: Mapping[str, str], stream: TextIO = sys.stderr) -> logging.Handler:
    """Where the daemon's log goes.

    Args:
        environment: with systemd's JOURNAL_STREAM, where `stream` leads to the journal.
    """
    plain = logging.StreamHandler(stream)
    plain.setFormatter(LogFormatter("%(asctime)s %(levelname)s %(message)s"))
    if not _is_journal(environment.get("JOURNAL_STREAM", ""), stream):
        return plain
    return JournalHandler(SOCKET, plain)


def _is_journal(named: str, stream: TextIO) -> bool:
    """Whether a stream is the one that systemd has connected to the journal: "device:inode"."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


class JournalHandler(logging.Handler):
    """Sends each record to the journal; where that cannot be, to `otherwise`."""

    def __init__(self, path: Path, otherwise: logging.Handler) -> None:
        super().__init__()
        self.setFormatter(LogFormatter())
        self._path = str(path)
        self._otherwise = otherwise
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(SEND_SECONDS)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one."""
        try:
            fields = dict(_fields(record, self.format(record)))
            self._socket.sendto(written(fields), self._path)
        except TimeoutError:
            pass  # nor would standard error, which leads there too
        except OSError:
            self._otherwise.handle(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Send no more."""
        self._socket.close()
        super().close()


def _fields(record: logging.LogRecord, message: str) -> Iterator[tuple[str, str]]:
    yield "MESSAGE", message
    least = (number for level, number in _PRIORITIES if record.levelno >= level)
    yield "PRIORITY", str(next(least, _DEBUG))
    yield "SYSLOG_IDENTIFIER", IDENTIFIER
    yield "CODE_FILE", record.pathname
    yield "CODE_LINE", str(record.lineno)
    yield "CODE_FUNC", record.funcName
    yield "LOGGER", record.name
    for name, value in vars(record).items():
        if name.startswith(_PREFIX):
            yield name, printable(shortened(str(value), LONGEST_LOG_LINE))


def written(fields: Mapping[str, str]) -> bytes:
    r"""One entry. A value of several lines comes with its length, so that it forges no field.

    >>> written({"MESSAGE": "a"}), written({"MESSAGE": "a\nPRIORITY=0"})
    (b'MESSAGE=a\n', b'MESSAGE\n\x0c\x00\x00\x00\x00\x00\x00\x00a\nPRIORITY=0\n')
    """
    entry = bytearray()
    for name, text in fields.items():
        value = text.encode("utf-8", "backslashreplace")
        if b"\n" in value:
            entry += name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
        else:
            entry += name.encode() + b"=" + value + b"\n"
    return bytes(entry)
