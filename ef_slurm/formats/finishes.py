"""A finish, its deadline and the slack between them, shown so that they agree with the verdict.

Times are exact inside and whole outside. Deadlines are rounded down; a finish is rounded down if it
is in time and up if it is late; slack is rounded down. So a kept promise never looks late, and a
late job never looks as if it had kept one, at whatever unit is shown.
"""

from __future__ import annotations

import math
from datetime import tzinfo

from ef_slurm.formats.times import format_for_table, format_instant, is_same_day
from ef_slurm.model import is_in_time


def shown_finish(finish: float, deadline: float | None, unit: float = 1.0) -> float:
    """The finish to show, in UTC epoch seconds: a whole number of units.

    Args:
        finish: when a job ended, or is predicted to.
        deadline: by when it was to; None for none.
        unit: the smallest unit that is shown, in seconds.

    >>> shown_finish(99.6, 99.8), shown_finish(99.9, 99.8), shown_finish(99.6, None)
    (99.0, 100.0, 99.0)
    """
    if deadline is None or not math.isfinite(finish):
        return math.floor(finish / unit) * unit if math.isfinite(finish) else finish
    last = math.floor(deadline / unit) * unit
    if is_in_time(finish, deadline):
        return min(math.floor(finish / unit) * unit, last)
    return max(math.ceil(finish / unit) * unit, last + unit)


def shown_slack(slack: float) -> float:
    """The slack to show, in whole seconds: negative if, and only if, the job is late.

    >>> shown_slack(0.7), shown_slack(-0.2)
    (0.0, -1.0)
    """
    return float(math.floor(slack)) if math.isfinite(slack) else slack


def format_finish(finish: float, deadline: float | None, zone: tzinfo) -> str:
    """The finish to the second, beside a deadline in `format_instant`."""
    return format_instant(shown_finish(finish, deadline), zone)


def finish_for_table(finish: float, deadline: float | None, now: float, zone: tzinfo) -> str:
    """The finish in a table, beside a deadline in `format_for_table`."""
    second = shown_finish(finish, deadline)
    if is_same_day(second, now, zone):
        return format_for_table(second, now, zone)
    return format_for_table(shown_finish(finish, deadline, 60.0), now, zone)
