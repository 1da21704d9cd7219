"""Counts of click's options, written as people write them: 20000, 20_000, 20k, 2e4."""

from __future__ import annotations

from typing import Any

import click

from ef_slurm.formats.numbers import parse_amount


class Count(click.ParamType):  # type: ignore[type-arg]
    """A whole number of 1 or more."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; a default is one already."""
        if isinstance(value, int):
            return value
        try:
            return parse_amount(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


COUNT = Count()
