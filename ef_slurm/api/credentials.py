"""What a MUNGE credential is made over, so that it is good for one request to one daemon once.

munged says who made a credential, and refuses one that is expired, was made with another cluster's
key or was decoded on this host before. The rest is here: method, path, query and body by their
digest, the daemon that is meant, the sender's time, and a nonce that `ReplayGuard` remembers. The
daemon signs its answers the same way, so that nobody else can answer on its port.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ef_slurm.api.messages import Failure, FailureCode
from ef_slurm.api.munge import Identity, Munge, MungeError, MungeProblem
from ef_slurm.formats.codec import DecodeError, decode, encode

FRESH_SECONDS = 300
"""How old a request may be, and how far clocks may differ."""
MOST_REMEMBERED = 1_000_000
"""Requests that `ReplayGuard` remembers; more within `FRESH_SECONDS` are refused."""

SCHEME = "MUNGE"
"""Of the Authorization header."""
ANSWER_HEADER = "Ef-Slurm-Credential"
"""Where the daemon's answer has its credential."""


class CredentialError(Exception):
    """A request or an answer that is not believed; `failure` says why."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(code, message)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a request's credential says.

    Args:
        digest: of method, target and body (`request_digest`).
        sent: by the sender's clock, whole UTC epoch seconds: there is no NaN among them.
        nonce: the sender's name for the request.
        daemon: "host:port" that the sender means.
        cluster: Slurm's name of the one that is meant; "" for whichever answers there.
    """

    digest: str
    sent: int
    nonce: str
    daemon: str
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """What an answer's credential says: which request it belongs to, and the digest of it."""

    digest: str
    nonce: str


class ReplayGuard:
    """Remembers the nonces of `FRESH_SECONDS`. Not thread-safe."""

    def __init__(self) -> None:
        self._until: OrderedDict[tuple[int, str], float] = OrderedDict()

    def check(self, uid: int, nonce: str, sent: int, now: float) -> None:
        """Let a request through once.

        Args:
            uid: who made it: nobody uses up another user's nonces.

        Raises:
            CredentialError: it is stale, from the future, or was seen before.
        """
        if not abs(now - sent) <= FRESH_SECONDS:
            raise CredentialError(
                FailureCode.STALE,
                f"the request is {now - sent:.0f} s old by this host's clock (at most "
                f"{FRESH_SECONDS} s are accepted): do the clocks of both hosts agree?",
            )
        while self._until and next(iter(self._until.values())) < now:
            self._until.popitem(last=False)
        if (uid, nonce) in self._until:
            raise CredentialError(FailureCode.REPLAYED, "this request was seen before")
        if len(self._until) >= MOST_REMEMBERED:
            raise CredentialError(FailureCode.BUSY, "ef-schedd is busy: try again")
        self._until[uid, nonce] = now + 2 * FRESH_SECONDS


def new_nonce() -> str:
    """A name for one request that nobody can guess."""
    return secrets.token_hex(16)


def request_digest(method: str, target: str, body: bytes) -> str:
    """SHA-256 of a request: nothing of it can be exchanged without notice."""
    return hashlib.sha256(f"{method} {target}\n".encode() + body).hexdigest()


def answer_digest(status: int, body: bytes) -> str:
    """SHA-256 of an answer."""
    return hashlib.sha256(f"{status}\n".encode() + body).hexdigest()


def authorization(signed: SignedRequest, munge: Munge) -> str:
    """The value of a request's Authorization header.

    Raises:
        MungeError: no credential can be made.
    """
    return f"{SCHEME} {munge.encode(encode(signed).decode())}"


def read_authorization(value: str | None, munge: Munge) -> tuple[Identity, SignedRequest]:
    """Who made a request's credential, and what it says. Costs a call of unmunge.

    Raises:
        CredentialError: there is none, or munged does not believe it.
    """
    scheme, _, credential = (value or "").partition(" ")
    if scheme != SCHEME:
        problem = "over TCP every request needs a MUNGE credential in its Authorization header"
        raise CredentialError(FailureCode.UNAUTHENTICATED, problem)
    identity = _identity(credential, munge)
    try:
        return identity, decode(SignedRequest, identity.payload, "credential")
    except DecodeError as error:
        raise CredentialError(FailureCode.UNAUTHENTICATED, str(error)) from None


def check_request(signed: SignedRequest, digest: str, daemon: str) -> None:
    """Hold what a credential says against the request that it came with.

    Args:
        digest: of the request (`request_digest`).
        daemon: "host:port" as the daemon's own configuration has it.

    Raises:
        CredentialError: it was made for another request, or for another daemon.
    """
    if not secrets.compare_digest(signed.digest, digest):
        raise CredentialError(
            FailureCode.UNAUTHENTICATED, "the credential was made for another request"
        )
    if not signed.nonce or len(signed.nonce) > 64:
        raise CredentialError(
            FailureCode.UNAUTHENTICATED, "the credential has no nonce of 1 to 64 characters"
        )
    if signed.daemon != daemon:
        raise CredentialError(
            FailureCode.UNAUTHENTICATED,
            f"the credential was made for the daemon at {signed.daemon[:80]!r}, this one is at "
            f"{daemon!r}: do both hosts have the same [daemon] host and port?",
        )


def answer_credential(status: int, body: bytes, nonce: str, munge: Munge) -> str:
    """The daemon's credential over an answer.

    Raises:
        MungeError: no credential can be made.
    """
    return munge.encode(encode(SignedAnswer(answer_digest(status, body), nonce)).decode())


def check_answer(credential: str | None, status: int, body: bytes, nonce: str, munge: Munge) -> int:
    """The uid that signed an answer.

    Args:
        nonce: of the request. A request that could not be read is refused without it.

    Raises:
        CredentialError: no credential, not believed, or made for another answer.
    """
    if credential is None:
        raise CredentialError(FailureCode.UNAUTHENTICATED, "the answer has no MUNGE credential")
    identity = _identity(credential, munge)
    try:
        signed = decode(SignedAnswer, identity.payload, "credential")
    except DecodeError as error:
        raise CredentialError(FailureCode.UNAUTHENTICATED, str(error)) from None
    if not secrets.compare_digest(signed.digest, answer_digest(status, body)):
        raise CredentialError(
            FailureCode.UNAUTHENTICATED, "the credential was made for another answer"
        )
    if signed.nonce != nonce and not (signed.nonce == "" and status >= 400):
        raise CredentialError(FailureCode.UNAUTHENTICATED, "the answer belongs to another request")
    return identity.uid


def _identity(credential: str, munge: Munge) -> Identity:
    try:
        return munge.decode(credential)
    except MungeError as error:
        raise CredentialError(_MUNGE_CODES[error.problem], str(error)) from None


_MUNGE_CODES: Mapping[MungeProblem, FailureCode] = MappingProxyType(
    {
        MungeProblem.UNAVAILABLE: FailureCode.INTERNAL,
        MungeProblem.EXPIRED: FailureCode.STALE,
        MungeProblem.REWOUND: FailureCode.STALE,
        MungeProblem.REPLAYED: FailureCode.REPLAYED,
        MungeProblem.INVALID: FailureCode.UNAUTHENTICATED,
    }
)
