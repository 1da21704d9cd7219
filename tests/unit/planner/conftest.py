"""How long the planner's properties are tested.

EF_HYPOTHESIS_PROFILE=quick (the default) or long; EF_HYPOTHESIS_EXAMPLES=N for another number.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

_QUICK = os.environ.get("EF_HYPOTHESIS_PROFILE", "quick") == "quick"

settings.register_profile(
    "planner",
    max_examples=int(os.environ.get("EF_HYPOTHESIS_EXAMPLES", 50 if _QUICK else 5000)),
    stateful_step_count=25 if _QUICK else 50,
    derandomize=_QUICK,
    deadline=None,
    suppress_health_check=_SLOW,
)
settings.load_profile("planner")
