"""Counter-offers as a line that can be pasted."""

from __future__ import annotations

import math

_PASTE_SECONDS = 5.0
_PASTE_SHARE = 0.02
_MAX_PASTE_SECONDS = 300.0


def pasted_in_time(earliest: float | None, at: float) -> float | None:
    """A deadline that is still promised when it is pasted a moment later; None without an offer.

    Args:
        earliest: that could be promised when it was judged, UTC epoch seconds.
        at: when that was.
    """
    if earliest is None:
        return None
    margin = _PASTE_SECONDS + _PASTE_SHARE * max(0.0, earliest - at)
    return math.ceil(earliest + min(margin, _MAX_PASTE_SECONDS))
