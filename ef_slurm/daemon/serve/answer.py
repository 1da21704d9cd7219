"""What goes back to whoever asked."""

from __future__ import annotations

from dataclasses import dataclass

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
