"""The ways on which a notice leaves: Slurm's mail program, a command of the site's, a web address.

What is written comes from users in part (a job's name, what Slurm said of it), so no way has a
place where such a text could be anything else. There is no shell; arguments are an address that
begins like one and a subject of one line that begins with our words; lines of a body begin with
ours too, and programs get JSON. What is run gets no environment of the daemon's, a process group of
its own, and a time limit.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ef_slurm.formats.codec import encode
from ef_slurm.formats.printing import printable, shortened
from ef_slurm.model import is_address
from ef_slurm.siteconfig.tables import NotifyBy, NotifyTable
from ef_slurm.slurm.errors import SlurmError, SlurmUnavailableError
from ef_slurm.slurm.interface import Slurm

MOST_ANSWER = 500
"""Characters of what a command, or a server, said, for the log."""
MOST_WRITTEN = 16 << 20
"""Bytes of any file that what is run may write: the file with its output fills no disk."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class DeliveryError(Exception):
    """A notice was not delivered. The message says why."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice as it leaves.

    Args:
        to: addresses that were given, each one checked (`model.notice.is_address`).
        owner: who gets it where none was given.
        subject: one line.
        lines: of the body.
        fields: the same for programs.
    """

    to: tuple[str, ...]
    owner: str
    subject: str
    lines: tuple[str, ...]
    fields: Mapping[str, Any]


class Channel(Protocol):
    """One way."""

    def send(self, letter: Letter) -> None:
        """Deliver it.

        Raises:
            DeliveryError: it was not, or nobody knows.
        """
        ...


class MailProgram:
    """`MailProg -s SUBJECT ADDRESS…`, as slurmctld calls it, with the body on standard input.

    Args:
        find: slurm.conf's MailProg and MailDomain, as they are now.
    """

    def __init__(self, find: Callable[[], tuple[str, str]], timeout: float) -> None:
        self._find = find
        self._timeout = timeout

    def send(self, letter: Letter) -> None:
        """Mail it."""
        program, domain = self._find()
        owner = f"{letter.owner}@{domain}" if domain else letter.owner
        to = letter.to or ((owner,) if is_address(owner) else ())
        if not to:
            raise DeliveryError(f"{printable(owner)} is no address: --mail-user=ADDRESS names one")
        text = "\n".join(letter.lines) + "\n"
        command = (program, "-s", letter.subject, *to)
        _run(command, text.encode("utf-8", "replace"), self._timeout)


class SiteCommand:
    """The site's own command: its arguments are the site's, JSON is on standard input."""

    def __init__(self, command: Sequence[str], timeout: float) -> None:
        self._command = tuple(command)
        self._timeout = timeout

    def send(self, letter: Letter) -> None:
        """Run it."""
        _run(self._command, encode(letter.fields) + b"\n", self._timeout)


class WebHook:
    """A web address that gets the notice as JSON (POST).

    Args:
        file: holds the address in its first line: it may be a secret, and every user reads the
            site's configuration.
    """

    def __init__(self, file: Path, timeout: float) -> None:
        self._file = file
        self._timeout = timeout

    def send(self, letter: Letter) -> None:
        """Post it; redirections are not followed."""
        request = urllib.request.Request(  # noqa: S310 - `web_address` takes http and https only
            web_address(self._file),
            data=encode(letter.fields),
            headers={"Content-Type": "application/json", "User-Agent": "ef-slurm"},
            method="POST",
        )
        opener = urllib.request.build_opener(_NoRedirects)
        try:
            with opener.open(request, timeout=self._timeout) as answer:
                answer.read(1024)
        except urllib.error.HTTPError as error:
            raise DeliveryError(f"the web hook answers {error.code}") from None
        except (OSError, ValueError) as error:
            # Not in its own words: they may hold the address.
            raise DeliveryError(f"the web hook cannot be reached: {type(error).__name__}") from None


class WhileActing:
    """A way that a daemon does not use any more once another one has taken over.

    Args:
        check: raises `TakenOverError` then, or `SlurmUnavailableError` while nobody can say: what
            is told twice does less harm than what is told to nobody.
    """

    def __init__(self, channel: Channel, check: Callable[[], None]) -> None:
        self._channel = channel
        self._check = check

    def send(self, letter: Letter) -> None:
        """Deliver it, if this daemon is the one that does."""
        with contextlib.suppress(SlurmUnavailableError):
            self._check()
        self._channel.send(letter)


def channel_of(notify: NotifyTable, slurm: Slurm) -> Channel | None:
    """The way that the site has chosen; None for none."""

    def mail() -> tuple[str, str]:
        try:
            return mail_program(slurm.configuration().settings)
        except SlurmError as error:
            raise DeliveryError(f"Slurm does not say what MailProg is: {error.message}") from None

    match notify.by:
        case NotifyBy.MAIL:
            return MailProgram(mail, notify.timeout)
        case NotifyBy.COMMAND:
            return SiteCommand(notify.command, notify.timeout)
        case NotifyBy.WEBHOOK if notify.webhook is not None:
            return WebHook(notify.webhook, notify.timeout)
    return None


def mail_program(settings: Mapping[str, str]) -> tuple[str, str]:
    """MailProg and MailDomain of slurm.conf; "" for no domain."""
    program, domain = settings.get("MailProg", ""), settings.get("MailDomain", "")
    unset = ("", "(null)")
    return ("/bin/mail" if program in unset else program), ("" if domain in unset else domain)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def web_address(file: Path) -> str:
    """The address in a file.

    Raises:
        DeliveryError: it cannot be read, or holds none.
    """
    try:
        with file.open(encoding="ascii") as opened:
            address = opened.readline(4096).strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise DeliveryError(f"{file} cannot be read: {why}") from None
    if not address.startswith(("https://", "http://")) or not address.isprintable():
        raise DeliveryError(f"the first line of {file} is no address: write https://…")
    return address


def _run(command: Sequence[str], text: bytes, timeout: float) -> None:
    """Run a command without a shell, and end it with all its children when its time is over."""
    environment = {"PATH": _PATH, "LANG": "C.UTF-8", "HOME": "/"}
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(  # noqa: S603 - no shell; see above for the arguments
                tuple(command),
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise DeliveryError(f"{command[0]} cannot be run: {error.strerror}") from None
        with contextlib.suppress(OSError):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (MOST_WRITTEN, MOST_WRITTEN))
        try:
            process.communicate(text, timeout=timeout)
        except subprocess.TimeoutExpired:
            _end(process)
            raise DeliveryError(f"{command[0]} did not end within {timeout:g} s") from None
        except OSError:
            _end(process)  # it closed its standard input: its exit code counts
        if process.returncode:
            said.seek(0)
            text_said = said.read(4 * MOST_ANSWER).decode("utf-8", "replace").strip()
            words = shortened(printable(text_said), MOST_ANSWER)
            raise DeliveryError(
                f"{command[0]} ended with {process.returncode}{f': {words}' if words else ''}"
            )


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
