"""A command's manual page, made of what click knows of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping

import click

from ef_slurm.cli.common.grouped import OTHERS, TableOption, group_of
from ef_slurm.cli.manual import roff
from ef_slurm.cli.manual.epilog import EXAMPLES, EXIT_CODES, codes, parts
from ef_slurm.cli.manual.pages import Page


def manual(page: Page, *, version: str, date: str) -> str:
    """The page as roff."""
    command = page.load()
    context = click.Context(command, info_name=page.program)
    return "\n".join(_lines(page, command, context, version, date)) + "\n"


def _lines(
    page: Page, command: click.Command, context: click.Context, version: str, date: str
) -> Iterator[str]:
    yield roff.header(page.program, page.section, date, f"ef\\-slurm {version}")
    yield ".nh"
    yield ".ad l"
    yield roff.section("Name")
    yield f"{roff.escaped(page.program)} \\- {roff.escaped(_summary(command))}"
    yield roff.section("Synopsis")
    yield from _synopsis(command, context)
    for _, sub, inner in _subcommands(command, context):
        yield ".br"
        yield from _synopsis(sub, inner)
    yield roff.section("Description")
    yield from _prose(_help(command))
    yield from _options(command, context, ".SH")
    if isinstance(command, click.Group):
        yield roff.section("Commands")
        for _, sub, inner in _subcommands(command, context):
            yield from _subcommand(sub, inner)
    found = parts(command.epilog)
    for heading, text in found.items():
        if heading not in (EXAMPLES, EXIT_CODES):
            yield roff.section(heading or "Notes")
            yield from _prose(text)
    for heading, make in page.more.items():
        yield roff.section(heading)
        yield from _prose(make())
    yield from _environment(page, command, context)
    yield roff.section("Files")
    for name, text in page.files:
        yield from roff.tagged(roff.italic(name), text)
    yield roff.section("Exit status")
    yield from _exit_status(found.get(EXIT_CODES, "0 done, 1 it failed, 2 usage"))
    yield roff.section("Examples")
    yield from roff.example(_examples(command, found).splitlines())
    yield roff.section("See also")
    yield from _references(page.see)


def _help(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "")


def _summary(command: click.Command) -> str:
    """The first sentence of its help, as a line for whatis(1)."""
    first = " ".join(_help(command).split("\n\n")[0].replace("\x08", "").split())
    summary = re.split(r"(?<=[^.])[.:,](?: |$)", first)[0]
    return summary[:1].lower() + summary[1:]


def _synopsis(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f".B {roff.escaped(context.command_path)}"
    pieces = command.collect_usage_pieces(context)
    if pieces:
        yield from (roff.line(part) for part in roff.wrapped(" ".join(pieces)))


def _subcommands(
    command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            sub = command.get_command(context, name)
            if sub is not None and not sub.hidden:
                yield name, sub, click.Context(sub, info_name=name, parent=context)


def _subcommand(command: click.Command, context: click.Context) -> Iterator[str]:
    yield roff.subsection(context.command_path)
    yield from _prose(_help(command))
    yield from _options(command, context, "")
    for heading, text in parts(command.epilog).items():
        yield ".PP"
        yield f"{roff.bold(heading)}:" if heading else ""
        if heading == EXAMPLES:
            yield from roff.example(text.splitlines())
        elif heading == EXIT_CODES:
            yield from _exit_status(text)
        else:
            yield from _prose(text)


def _prose(text: str) -> Iterator[str]:
    """Paragraphs; those that click is told not to wrap, and lists, stand as they are."""
    first = True
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        kept = block.lstrip("\n")
        if not first:
            yield ".PP"
        first = False
        if kept.startswith("\x08"):
            yield from roff.example(kept.removeprefix("\x08").strip("\n").splitlines())
        elif _is_list(kept):
            yield from roff.example(kept.splitlines())
        else:
            yield from roff.paragraph(kept)


def _is_list(text: str) -> bool:
    """Whether columns stand under one another."""
    lines = text.splitlines()
    return len(lines) > 1 and all(re.search(r"\S {2,}\S", each) for each in lines)


def _options(command: click.Command, context: click.Context, macro: str) -> Iterator[str]:
    """The options under their headings; those without a help of ours are named together."""
    groups: dict[str, list[click.Option]] = {}
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            groups.setdefault(group_of(parameter), []).append(parameter)
    if not groups:
        return
    if macro:
        yield roff.section("Options")
    if OTHERS in groups:
        groups[OTHERS] = groups.pop(OTHERS)  # the last one
    for title, options in groups.items():
        if len(groups) > 1 and macro:
            yield roff.subsection(title)
        elif len(groups) > 1:
            yield ".PP"
            yield f"{roff.escaped(title)}:"
        bare = []
        for option in options:
            record = option.get_help_record(context)
            if record is None:
                bare.append(option)
            else:
                yield from roff.tagged(_spelling(option, record[0]), record[1])
        if bare:
            if len(bare) < len(options):
                yield ".PP"
            names = ", ".join(each.spelling for each in bare if isinstance(each, TableOption))
            yield from roff.paragraph(names)


def _spelling(option: click.Option, record: str) -> str:
    """`-J, --job-name=NAME`: what is typed in bold, what is filled in in italics."""
    match = re.match(r"--?[\w-]+(?:(?:, | / )--?[\w-]+)*", record)
    assert match is not None, option.name
    names, value = match[0], record[match.end() :]
    pieces = re.split(r"(--?[\w-]+)", names)
    shown = "".join(
        roff.bold(piece) if place % 2 else roff.escaped(piece) for place, piece in enumerate(pieces)
    )
    return shown + (roff.italic(value) if value else "")


def _environment(page: Page, command: click.Command, context: click.Context) -> Iterator[str]:
    """Variables of the page, and those that stand for options."""
    yield roff.section("Environment")
    commands = [command, *(sub for _, sub, _ in _subcommands(command, context))]
    for option in (one for each in commands for one in each.params):
        if isinstance(option, click.Option) and option.envvar:
            names = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar)
            text = f"Stands for {option.opts[-1]} where that is not given."
            yield from roff.tagged(roff.bold(", ".join(names)), text)
    for name, text in page.variables:
        yield from roff.tagged(roff.bold(name), text)


def _exit_status(text: str) -> Iterator[str]:
    found, before = codes(text)
    if before:
        yield from roff.paragraph(before)
    for code in found:
        words = code.text[:1].upper() + code.text[1:]
        yield from roff.tagged(roff.bold(code.number), f"{words}.")


def _examples(command: click.Command, found: Mapping[str, str]) -> str:
    """Those of its epilog, or, where its help has them, the lines there that call it."""
    if EXAMPLES in found:
        return found[EXAMPLES]
    blocks = re.findall(r"\x08\n(.*?)(?=\n\s*\n|\Z)", _help(command), re.S)
    return "\n\n".join(blocks)


def _references(names: list[str]) -> Iterator[str]:
    for place, name in enumerate(names):
        title, _, number = name.rstrip(")").partition("(")
        comma = "," if place < len(names) - 1 else ""
        yield f".BR {roff.escaped(title)} ({number}){comma}"
