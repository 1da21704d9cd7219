"""How commands print: nobody's job name or note writes on anybody else's terminal but as text."""

from __future__ import annotations

from contextlib import nullcontext, suppress

import click

from ef_slurm.formats.codec import pretty
from ef_slurm.formats.printing import printable


def say(line: str, *, err: bool = False) -> None:
    """Print a line for people, with whatever it quotes made harmless.

    Args:
        err: beside the result; what cannot be printed there is left out.

    Raises:
        OSError: standard output cannot be written.
    """
    with suppress(OSError) if err else nullcontext():
        click.echo(printable(line), err=err)


def say_json(value: object) -> None:
    """Print a value for programs: ASCII, in which JSON's own escapes keep every text exact."""
    click.echo(pretty(value))
