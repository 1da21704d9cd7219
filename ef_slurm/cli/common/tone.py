"""How cells of a table are coloured."""

from __future__ import annotations

import enum


class Tone(enum.Enum):
    """How a cell is coloured on a terminal."""

    PLAIN = "plain"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    DIM = "dim"
