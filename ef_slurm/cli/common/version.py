"""Which ef-slurm this is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def version_option(program: str) -> Callable[[_Command], _Command]:
    """The option --version of a click command."""

    def show(context: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted:
            click.echo(f"{program}, version {own_version()}")
            context.exit()

    return click.option(
        "--version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Show the version and exit.",
    )


def own_version() -> str:
    """The installed ef-slurm's version; a checkout that is not installed has none."""
    # Imported when somebody asks: it brings along mail and archives, which no command needs.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ef-slurm")
    except PackageNotFoundError:
        return "(not installed)"
