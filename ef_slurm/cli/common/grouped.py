"""Options under headings, in help and manual: the one description that a command has of itself.

Most commands declare click options (`group`). Those that read their words as sbatch does
(`common.options`) show the same table to click (`TableCommand`). Help, manuals and completion are
made of what click then knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from ef_slurm.cli.common.completing import Complete
from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.options import Option, OptionGroup, Options, Takes

OTHERS = "Options"
"""The heading of options that have none."""
HELP_WIDTH = 100

_Function = TypeVar("_Function", bound=Callable[..., Any])


class GroupedOption(click.Option):
    """An option under a heading."""

    def __init__(self, *args: Any, group: str = OTHERS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def group(title: str) -> Callable[..., Callable[[_Function], _Function]]:
    """`click.option` for options under a heading."""

    def option(*names: str, **settings: Any) -> Callable[[_Function], _Function]:
        return click.option(*names, cls=GroupedOption, group=title, **settings)

    return option


def group_of(parameter: click.Parameter) -> str:
    """The heading under which an option stands."""
    return parameter.group if isinstance(parameter, GroupedOption) else OTHERS


class GroupedCommand(click.Command):
    """A command whose help has headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options, a section for each group, in the order in which they are declared."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(group_of(parameter), []).append(record)
        last = sections.pop(OTHERS, None)
        for title, records in (*sections.items(), *([(OTHERS, last)] if last else [])):
            with formatter.section(title):
                formatter.write_dl(records, col_max=27)


class TableOption(GroupedOption):
    """An option of a table, written as sbatch's manual does: `-J, --job-name=NAME`."""

    def __init__(
        self,
        option: Option,
        title: str,
        complete: Complete | None = None,
        variables: Sequence[str] = (),
    ) -> None:
        names = [f"-{option.short}"] if option.short else []
        is_flag = option.takes is Takes.NOTHING
        optional: dict[str, Any] = (
            {"is_flag": False, "flag_value": ""} if option.takes is Takes.OPTIONAL else {}
        )
        super().__init__(
            [*names, option.flag],
            group=title,
            help=option.help,
            **(optional or {"is_flag": is_flag}),
            **({} if is_flag else {"metavar": option.metavar}),
            **({"type": click.Path()} if option.metavar in ("FILE", "DIR") else {}),
            shell_complete=complete,
            envvar=list(variables) or None,
        )
        self._of = option

    def get_help_record(self, _: click.Context) -> tuple[str, str] | None:
        """The name with its value, and the help; None for options that have none here."""
        if not self._of.help:
            return None
        return self.spelling, self._of.help

    @property
    def spelling(self) -> str:
        """`-W, --wait` or `--soft[=GRACE]`."""
        value = {
            Takes.NOTHING: "",
            Takes.VALUE: f"={self._of.metavar}",
            Takes.OPTIONAL: f"[={self._of.metavar}]",
        }[self._of.takes]
        short = f"-{self._of.short}, " if self._of.short else ""
        return f"{short}{self._of.flag}{value}"


class TableCommand(GroupedCommand):
    """A command that reads its words itself; click knows its options to tell of them.

    Args:
        body: what it does with its words.
        groups: the options under their headings.
        operands: what stands after the options, for the usage line.
        complete: what completes the values of options, by name.
        variables: of the environment, that the body reads where an option is not given, by name.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[Sequence[str]], int],
        groups: Iterable[OptionGroup],
        operands: str,
        *,
        about: str,
        epilog: str,
        complete: Mapping[str, Complete] = MappingProxyType({}),
        variables: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        groups = tuple(groups)
        self._options = Options(option for each in groups for option in each.options)
        super().__init__(
            name,
            callback=body,
            params=[
                *(
                    TableOption(
                        option,
                        each.title,
                        complete.get(option.name),
                        variables.get(option.name, ()),
                    )
                    for each in groups
                    for option in each.options
                ),
                click.Argument(["words"], nargs=-1, metavar=operands, type=click.Path()),
            ],
            add_help_option=False,
            context_settings={"max_content_width": HELP_WIDTH},
            help=about,
            epilog=epilog,
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the words to the body, but for `--help`."""
        if ctx.resilient_parsing:  # for completion: click learns what options look like
            super().parse_args(ctx, [])
        ctx.params, ctx.obj = {"words": tuple(args)}, []
        with suppress(UsageError):  # which the body tells
            options, ctx.obj = self._options.parse(args, "command line")
            asked = any(option.option.name == "help" for option in options)
            if asked and not ctx.resilient_parsing:
                click.echo(self.get_help(ctx))
                ctx.exit()
        return []

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Options before the script, files behind it."""
        if ctx.obj:
            return [CompletionItem(incomplete, type="file")]
        return super().shell_complete(ctx, incomplete)
