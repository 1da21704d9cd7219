"""What goes back to whoever asked."""

from __future__ import annotations

from dataclasses import dataclass

from ef_slurm.api import credentials, routes
from ef_slurm.api.messages import Failure, FailureCode, Registered, Response
from ef_slurm.api.problems import MEDIA_TYPE, STATUS, write_problem
from ef_slurm.formats.codec import encode

NO_ROUTE = "none"
"""What requests count as that are none of the API's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back.

    Args:
        headers: beside the ones that every answer has, or in the place of those.
        nonce: of a TCP request whose credential was believed; None where nothing is signed.
        route: what it counts as.
    """

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    nonce: str | None = None
    route: str = NO_ROUTE


def success(response: Response, nonce: str | None, route: str) -> Answer:
    """What was asked for."""
    body = encode(response)
    if isinstance(response, Registered):
        status = 201 if response.created else 200
        location = (("Location", f"{routes.PREFIX}/jobs/{response.job_id}"),)
        return Answer(status, body, headers=location, nonce=nonce, route=route)
    return Answer(200, body, nonce=nonce, route=route)


def refusal(failure: Failure, nonce: str | None, route: str) -> Answer:
    """Why it could not be done."""
    headers: list[tuple[str, str]] = []
    if failure.code in (FailureCode.TOO_MANY, FailureCode.BUSY):
        headers.append(("Retry-After", "1"))
    if STATUS[failure.code] == 401:
        headers.append(("WWW-Authenticate", credentials.SCHEME))
    body = write_problem(failure)
    return Answer(STATUS[failure.code], body, MEDIA_TYPE, tuple(headers), nonce, route)
