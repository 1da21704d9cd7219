"""`Failure` as a problem document of HTTP (RFC 9457), and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ef_slurm.api.messages import Failure, FailureCode
from ef_slurm.formats.codec import DecodeError, decode, encode

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:ef-slurm:problem:"

STATUS: Mapping[FailureCode, int] = MappingProxyType(
    {
        FailureCode.BAD_REQUEST: 400,
        FailureCode.OTHER_VERSION: 400,
        FailureCode.UNAUTHENTICATED: 401,
        FailureCode.REPLAYED: 401,
        FailureCode.STALE: 401,
        FailureCode.DENIED: 403,
        FailureCode.UNKNOWN_JOB: 404,
        FailureCode.NO_SUCH_PATH: 404,
        FailureCode.NO_SUCH_METHOD: 405,
        FailureCode.TOO_SLOW: 408,
        FailureCode.TOO_LARGE: 413,
        FailureCode.TOO_MANY: 429,
        FailureCode.INTERNAL: 500,
        FailureCode.SLURM: 502,
        FailureCode.BUSY: 503,
    }
)
"""The status of the answer, by what went wrong."""

TITLES: Mapping[FailureCode, str] = MappingProxyType(
    {
        FailureCode.BAD_REQUEST: "not a request that can be granted",
        FailureCode.OTHER_VERSION: "another version of the API",
        FailureCode.UNAUTHENTICATED: "nobody knows who asks",
        FailureCode.REPLAYED: "asked before",
        FailureCode.STALE: "too old, or from the future",
        FailureCode.DENIED: "not allowed",
        FailureCode.UNKNOWN_JOB: "no such job",
        FailureCode.NO_SUCH_PATH: "no such path",
        FailureCode.NO_SUCH_METHOD: "no such method",
        FailureCode.TOO_SLOW: "too slow",
        FailureCode.TOO_LARGE: "too large",
        FailureCode.TOO_MANY: "too many requests",
        FailureCode.INTERNAL: "a fault of the daemon",
        FailureCode.SLURM: "Slurm refused or did not answer",
        FailureCode.BUSY: "busy",
    }
)
"""What went wrong in a word; `detail` says it in this case's."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem document.

    Args:
        type: an URN that ends with the failure's code; it does not change.
        title: the same in words.
        status: of the answer.
        detail: what is wrong with this request, for a person.
    """

    type: str
    title: str
    status: int
    detail: str


def problem_of(failure: Failure) -> Problem:
    """How a failure travels."""
    code = failure.code
    return Problem(_TYPE + code.value, TITLES[code], STATUS[code], failure.message)


def write_problem(failure: Failure) -> bytes:
    """The document as it travels."""
    return encode(problem_of(failure))


def read_problem(body: bytes) -> Failure:
    """The failure that a document tells of; a code that a newer daemon invented counts as internal.

    Raises:
        DecodeError: it is no problem document of ef-slurm's.
    """
    problem = decode(Problem, body, "problem")
    if not problem.type.startswith(_TYPE):
        raise DecodeError("problem.type", f"expected {_TYPE}…")
    try:
        code = FailureCode(problem.type.removeprefix(_TYPE))
    except ValueError:
        code = FailureCode.INTERNAL
    return Failure(code, problem.detail)
