"""A value that the model refuses."""

from __future__ import annotations

LONGEST_SHOWN = 200
"""Characters of a value that an error repeats."""


class ModelError(ValueError):
    """A value that the model refuses. `field` names it the way a user would."""

    def __init__(self, field: str, value: object, wanted: str) -> None:
        super().__init__(f"{field}: {_shown(value)} is not valid: {wanted}")
        self.field = field
        self.value = value
        self.wanted = wanted


def _shown(value: object) -> str:
    """The value in an error: enough of it to be recognised, whatever somebody has sent."""
    if isinstance(value, str):
        left_out = len(value) - LONGEST_SHOWN
        shown = repr(value[:LONGEST_SHOWN])
        return shown if left_out <= 0 else f"{shown} and {left_out} characters more"
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a whole number of {value.bit_length()} bits"
    shown = repr(value)
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]} …"
