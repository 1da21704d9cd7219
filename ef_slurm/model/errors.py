"""A value that the model refuses."""

from __future__ import annotations


class ModelError(ValueError):
    """A value that the model refuses. `field` names it the way a user would."""

    def __init__(self, field: str, value: object, wanted: str) -> None:
        super().__init__(f"{field}: {value!r} is not valid: {wanted}")
        self.field = field
        self.value = value
        self.wanted = wanted
