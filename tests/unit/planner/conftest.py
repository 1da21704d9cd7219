"""How long the planner's properties are tested: EF_HYPOTHESIS_PROFILE=quick (default) or long."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

settings.register_profile(
    "quick", max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=_SLOW
)
settings.register_profile(
    "long", max_examples=5000, stateful_step_count=50, deadline=None, suppress_health_check=_SLOW
)
settings.load_profile(os.environ.get("EF_HYPOTHESIS_PROFILE", "quick"))
