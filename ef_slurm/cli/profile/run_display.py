"""How a run shows how far it has come: a bar on a terminal, a line per step elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self

import click

from ef_slurm.cli.common.output import say
from ef_slurm.cli.profile.size_run import Look, SizeResult, Stage
from ef_slurm.formats.sentences import gpus


class RunDisplay:
    """Everything goes to standard error: standard output is for the curve.

    Args:
        sizes: how many are to be measured.
        seconds_per_size: of training at each.
        bar: whether a bar can be drawn.
    """

    def __init__(self, sizes: int, seconds_per_size: float, *, bar: bool) -> None:
        self._each = max(1, round(seconds_per_size))
        self._bar: Any = None
        if bar:
            self._bar = click.progressbar(
                length=sizes * self._each, file=sys.stderr, item_show_func=lambda text: text
            )
        self._shown = ("", 0)
        self._before = 0
        self._filled = 0

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def show(self, step: Look | SizeResult) -> None:
        """Show where it is."""
        if isinstance(step, SizeResult):
            self._before += self._each
            self._fill(self._before, result_line(step))
            self._line(result_line(step))
            return
        words = _words(step)
        self._fill(self._before + min(self._each, int(step.seconds)), words)
        if self._bar is None and (step.stage.value, step.gpus) != self._shown:
            say(words, err=True)
        self._shown = (step.stage.value, step.gpus)

    def _fill(self, filled: int, words: str) -> None:
        if self._bar is not None:
            self._bar.update(max(0, filled - self._filled), words)
            self._filled = max(filled, self._filled)

    def _line(self, text: str) -> None:
        if self._bar is None:
            say(text, err=True)


def result_line(result: SizeResult) -> str:
    """What came of a size."""
    if result.rate is None:
        return f"{gpus(result.gpus)}: not measured: {result.why}"
    return f"{gpus(result.gpus)}: {result.rate:.4g} iterations/s"


def _words(look: Look) -> str:
    match look.stage:
        case Stage.WAITING:
            return "waiting for its GPUs"
        case Stage.STARTING:
            return f"{gpus(look.gpus)}: starting"
        case Stage.TRAINING:
            return f"{gpus(look.gpus)}: training"
