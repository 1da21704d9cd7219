"""Who asks over TCP: MUNGE credentials through the `munge` and `unmunge` commands.

A credential can only be made by a process of that uid on a host with the cluster's munge key, can
be decoded once per host, and for a few minutes. See munge(7), unmunge(1).
"""

from __future__ import annotations

import enum
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

TIMEOUT_SECONDS = 5.0
"""Seconds that munged may take."""


class MungeProblem(enum.Enum):
    """Why a credential could not be made or is not believed."""

    UNAVAILABLE = "unavailable"  # no munge command, munged down or not answering
    EXPIRED = "expired"
    REWOUND = "rewound"
    REPLAYED = "replayed"
    INVALID = "invalid"


class MungeError(Exception):
    """No credential, or one that is not believed."""

    def __init__(self, problem: MungeProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Identity:
    """Who made a credential, and what it says."""

    uid: int
    gid: int
    payload: str


class Munge(Protocol):
    """Makes and checks credentials."""

    def encode(self, payload: str) -> str:
        """A credential of this process over `payload`.

        Raises:
            MungeError: munged does not make one.
        """
        ...

    def decode(self, credential: str) -> Identity:
        """Who made it.

        Raises:
            MungeError: it is not believed, or was decoded on this host before.
        """
        ...


# unmunge's exit codes are munge's error numbers (libmunge's munge.h).
_PROBLEMS: Mapping[int, MungeProblem] = MappingProxyType(
    {
        6: MungeProblem.UNAVAILABLE,  # socket
        7: MungeProblem.UNAVAILABLE,  # timeout
        15: MungeProblem.EXPIRED,
        16: MungeProblem.REWOUND,
        17: MungeProblem.REPLAYED,
    }
)
_CREDENTIAL = re.compile(r"MUNGE:[A-Za-z0-9+/=:]+", re.ASCII)
_METADATA = re.compile(r"^(STATUS|UID|GID):\s+(.*?)\s*$", re.MULTILINE)
_NUMBER = re.compile(r"\((\d+)\)$")


class MungeCommand:
    """`munge` and `unmunge` as commands.

    Args:
        socket: of munged; None for the default one.
    """

    def __init__(self, socket: str | None = None) -> None:
        self._options = () if socket is None else (f"--socket={socket}",)

    def encode(self, payload: str) -> str:
        """A credential of this process over `payload`."""
        done = self._run(("munge", *self._options), payload)
        credential = done.stdout.strip()
        if done.returncode or not _CREDENTIAL.fullmatch(credential):
            raise _error("munge", done)
        return credential

    def decode(self, credential: str) -> Identity:
        """Who made it, once."""
        if not _CREDENTIAL.fullmatch(credential):
            raise MungeError(MungeProblem.INVALID, "this is no MUNGE credential")
        done = self._run(("unmunge", *self._options), credential)
        metadata, _, payload = done.stdout.partition("\n\n")
        if done.returncode:
            raise _error("unmunge", done)
        found = dict(_METADATA.findall(metadata))
        return Identity(_number(found, "UID"), _number(found, "GID"), payload)

    def _run(self, command: tuple[str, ...], text: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - words, no shell
                command,
                input=text,
                capture_output=True,
                text=True,
                errors="replace",  # whoever makes a credential may put anything into it
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MungeError(MungeProblem.UNAVAILABLE, f"{command[0]}: {error}") from None


def _number(found: Mapping[str, str], name: str) -> int:
    number = _NUMBER.search(found.get(name, ""))
    if number is None:
        raise MungeError(MungeProblem.INVALID, f"unmunge tells no {name}")
    return int(number.group(1))


def _error(command: str, done: subprocess.CompletedProcess[str]) -> MungeError:
    problem = _PROBLEMS.get(done.returncode, MungeProblem.INVALID)
    if command == "munge":
        problem = MungeProblem.UNAVAILABLE
    lines = done.stderr.strip().splitlines()
    said = lines[-1] if lines else f"exit code {done.returncode}"
    return MungeError(problem, said if said.startswith(command) else f"{command}: {said}")
