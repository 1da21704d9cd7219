"""Manual pages: whole, well-formed, and made of what the commands say of themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import click
import pytest

from ef_slurm.cli.common.grouped import group_of
from ef_slurm.cli.manual import roff
from ef_slurm.cli.manual.epilog import codes, parts
from ef_slurm.cli.manual.files import all_files
from ef_slurm.cli.manual.pages import PAGES, Page
from ef_slurm.cli.manual.write import manual
from ef_slurm.cli.sbatch.options import ALL_OPTIONS

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.program)


@cache
def text_of(program: str) -> str:
    (page,) = (page for page in PAGES if page.program == program)
    return manual(page, version="1.2.3", date="2026-11-26")


def text(page: Page) -> str:
    return text_of(page.program)


def plain(roff_text: str) -> str:
    """What a reader sees of it, on one line."""
    shown = re.sub(r"\\f[BIR]", "", roff_text)
    for letter, written in roff._SPECIAL.items():
        shown = shown.replace(written, letter)
    return " ".join(shown.replace("\\&", "").split())


def commands(page: Page) -> list[tuple[click.Command, click.Context]]:
    command = page.load()
    context = click.Context(command, info_name=page.program)
    found = [(command, context)]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            sub = command.get_command(context, name)
            assert sub is not None
            found.append((sub, click.Context(sub, info_name=name, parent=context)))
    return found


@by_page
def test_every_section_is_there_in_the_usual_order(page: Page) -> None:
    found = [name.strip('"') for name in re.findall(r"^\.SH (.*)$", text(page), re.M)]
    usual = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "ENVIRONMENT", "FILES", "EXIT STATUS"]
    usual += ["EXAMPLES", "SEE ALSO"]
    assert [name for name in found if name in usual] == usual
    for name, following in zip(found, [*found[1:], None], strict=True):
        part = text(page).partition(f".SH {name}\n")[2].partition("\n.SH ")[0]
        assert part.strip(), f"{page.name}: {name} before {following} is empty"


@by_page
def test_every_option_stands_there_with_its_help_default_and_group(page: Page) -> None:
    shown = plain(text(page))
    for command, context in commands(page):
        options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
        groups = {group_of(option) for option in options}
        for option in options:
            for flag in (*option.opts, *option.secondary_opts):
                assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", shown), flag
            record = option.get_help_record(context)
            if record is not None and record[1]:
                # With its default, which click says in brackets and our tables in parentheses.
                assert plain(roff.escaped(record[1])) in shown, option.opts
            if len(groups) > 1:
                assert plain(roff.escaped(group_of(option))) in shown, group_of(option)


def test_every_option_of_sbatch_has_its_word() -> None:
    (page,) = (page for page in PAGES if page.program == "ef-sbatch")
    shown = plain(text(page))
    for name in ALL_OPTIONS._by_name:
        assert re.search(rf"(?<![\w-])--{re.escape(name)}(?![\w-])", shown), name


@by_page
def test_variables_that_stand_for_options_are_named(page: Page) -> None:
    environment = text(page).partition(".SH ENVIRONMENT")[2].partition("\n.SH ")[0]
    for command, _ in commands(page):
        for parameter in command.params:
            names = parameter.envvar or ()
            for name in [names] if isinstance(names, str) else names:
                assert plain(roff.escaped(name)) in plain(environment)


def test_variables_of_a_submission_are_named() -> None:
    words = plain(text_of("ef-sbatch")).replace(",", " ").split()
    assert {"EF_SBATCH_DEADLINE", "SBATCH_ACCOUNT"} <= set(words)
    assert "EF_SBATCH_DEADLINE" not in plain(text_of("ef-profile"))


@by_page
@pytest.mark.skipif(shutil.which("mandoc") is None, reason="no mandoc here")
def test_mandoc_finds_nothing(page: Page, tmp_path: Path) -> None:
    file = tmp_path / page.name
    file.write_text(text(page))
    done = subprocess.run(
        ["mandoc", "-Tlint", "-W", "style", file], capture_output=True, text=True, check=False
    )
    assert done.stdout + done.stderr == ""


@by_page
@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
def test_groff_finds_nothing(page: Page, tmp_path: Path) -> None:
    file = tmp_path / page.name
    file.write_text(text(page))
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-K", "utf8", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_all_files_are_there() -> None:
    names = [name for name, _ in all_files("1", "2026-11-26")]
    assert len(names) == len(set(names)) == 4 * len(PAGES)
    assert "man/man8/ef-schedd.8" in names
    assert "zsh/site-functions/_ef-sbatch" in names


EPILOG = """
\b
Examples:
  ef-x 1     this
    deeper

\b
  More:
    of it
\b
Exit codes: 0 done, 1 Slurm or a job that is
  not known, 130 Ctrl-C.
"""


def test_the_parts_of_an_epilog() -> None:
    found = parts(EPILOG)
    assert list(found) == ["Examples", "Exit codes"]
    assert found["Examples"] == "ef-x 1     this\n  deeper\n\nMore:\n  of it"
    told, before = codes(found["Exit codes"])
    assert [(code.number, code.text) for code in told] == [
        ("0", "done"),
        ("1", "Slurm or a job that is not known"),
        ("130", "Ctrl-C"),
    ]
    assert before == ""
    lines, _ = codes("  0  done; 2 of them\n  3  refused\n     (so)")
    assert [(code.number, code.text) for code in lines] == [
        ("0", "done; 2 of them"),
        ("3", "refused (so)"),
    ]


@pytest.mark.parametrize("word", [".so /etc/passwd", "'br", "\\fB", "a\\b", '"', "…é"])
def test_a_text_has_no_power_over_the_page(word: str) -> None:
    for shown in (roff.line(word), *roff.paragraph(word), *roff.example([word])):
        assert not shown.startswith(("'", ".")) or shown in (".nf", ".fi")
    assert "\\f" not in roff.escaped(word)
    assert roff.escaped(word).isascii()
