"""How exact times on the timetable are."""

from __future__ import annotations

EDGE_SECONDS = 1e-6
"""Seconds by which the end of one reservation and the start of the next may differ by rounding.

This is geometry, not a judgement: ends are sums of many floats, and a block that is free until the
very end of a plan must count as free for it. The search for new plans is held to deadlines with
this hair only. Whether a finish, predicted or real, is late is for `model.deadline` to say, which
allows a thousand times more, so that a plan made in time stays so however often it is replayed.
"""
