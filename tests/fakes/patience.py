"""How long a test waits for what has to come."""

from typing import Final

PATIENCE: Final = 60.0
"""Seconds. Unit tests run at the lowest priority beside the clusters': there, what takes no time
has taken ten seconds. Who waits in vain has failed, and may well have waited."""
