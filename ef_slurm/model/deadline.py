"""What "in time" means: one rule for plans, for what they predict, and for how jobs ended.

Planner, daemon, simulator and commands all ask here, so that nobody calls late what another one
called in time.
"""

from __future__ import annotations

TOLERANCE_SECONDS = 1e-3
"""Seconds by which a finish may pass its deadline and still be in time.

A time in epoch seconds is exact to 2e-7 s only, and a finish that was predicted is a sum of many:
a job that was planned to end at its deadline ends a few microseconds beside it. A millisecond is
far above that, and far below what a person, or Slurm with its whole seconds, could tell.
"""


def is_in_time(finish: float, deadline: float, grace: float = 0.0) -> bool:
    """Whether a finish keeps a deadline.

    Args:
        finish: when a job ended or is predicted to end; infinite for never.
        deadline: by when it must; infinite for none.
        grace: seconds that it may take longer.

    >>> is_in_time(60.0004, 60.0), is_in_time(61.0, 60.0), is_in_time(61.0, 60.0, grace=1.0)
    (True, False, True)
    """
    return finish <= deadline + grace + TOLERANCE_SECONDS


def slack_seconds(finish: float, deadline: float) -> float:
    """Seconds from a finish to the deadline: negative if, and only if, it is not in time."""
    left = deadline - finish
    return max(0.0, left) if is_in_time(finish, deadline) else left
