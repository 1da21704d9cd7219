"""The files: where manual pages and completion scripts lie below `share`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from ef_slurm.cli.common.version import own_version
from ef_slurm.cli.manual.pages import PAGES, Page
from ef_slurm.cli.manual.write import manual

_COMPLETIONS = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/site-functions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}
"""Where each shell looks for them."""


def write_all(directory: Path, version: str | None = None) -> None:
    """Write all files below a directory that becomes `share`.

    Args:
        version: of ef-slurm, for the pages' footer.
    """
    for name, text in all_files(version or own_version(), _date()):
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def all_files(version: str, date: str) -> Iterator[tuple[str, str]]:
    """Names below `share`, and texts."""
    for page in PAGES:
        yield f"man/man{page.section}/{page.name}", manual(page, version=version, date=date)
        yield from ((name, text) for name, text in completions(page))


def completions(page: Page) -> Iterator[tuple[str, str]]:
    """The scripts of a command: they ask it what may come next."""
    command = click.Command(page.program)
    variable = f"_{page.program.replace('-', '_').upper()}_COMPLETE"
    for shell, place in _COMPLETIONS.items():
        kind = get_completion_class(shell)
        assert kind is not None
        script = kind(command, {}, page.program, variable).source()
        yield place.format(page.program), script.strip("\n") + "\n"


def _date() -> str:
    """Of the sources, where that is known: builds shall be alike."""
    stamp = os.environ.get("SOURCE_DATE_EPOCH", "")
    when = time.gmtime(int(stamp)) if stamp.isdecimal() else time.gmtime()
    return f"{when.tm_year:04}-{when.tm_mon:02}-{when.tm_mday:02}"
