"""The pages, made of the queue and of what the scheduler last saw."""

from __future__ import annotations

import functools
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from ef_slurm.api.messages import FailureCode
from ef_slurm.api.routes import RequestError, shown
from ef_slurm.charts.page import figure, theme_block
from ef_slurm.daemon.serve.context import ServerContext
from ef_slurm.daemon.serve.visibility import Viewer
from ef_slurm.daemon.serve.web import health, job, now, promises, waiting
from ef_slurm.daemon.serve.web.view import Look
from ef_slurm.daemon.serve.web.words import when
from ef_slurm.formats.printing import printable
from ef_slurm.queue.store import Queue


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its heading, and what its address may ask for.

    Args:
        whole: parameters that are whole numbers → least, most and what holds without them.
    """

    title: str
    in_menu: bool
    whole: Mapping[str, tuple[int, int, int | None]]


_JOB_IDS = 10**18
PAGES: Mapping[str, Page] = {
    "now": Page("Now", True, {"hours": (1, 168, 6)}),
    "promises": Page("Promises", True, {"days": (1, 3660, 30)}),
    "waiting": Page("Waiting", True, {}),
    "health": Page("Health", True, {}),
    "job": Page("Job", False, {"id": (1, _JOB_IDS, None), "everything": (0, 1, 0)}),
}
"""By the last part of their paths."""
_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)


class Site:
    """One reader's look at everything, for one visitor.

    Args:
        queue: the reader's own view of it.
    """

    def __init__(self, context: ServerContext, queue: Queue, viewer: Viewer) -> None:
        self._look = Look(context, queue, viewer, time.time())

    def main(self, name: str, query: str) -> bytes:
        """What is in a page.

        Raises:
            RequestError: the query asks for what there is not.
        """
        asked = read_query(name, query)
        look = self._look
        match name:
            case "now":
                content = now.content(look, hours=asked["hours"])
            case "promises":
                content = promises.content(look, days=asked["days"])
            case "waiting":
                content = waiting.content(look)
            case "health":
                content = health.content(look)
            case _:
                content = job.content(look, asked["id"], everything=bool(asked["everything"]))
        return _render(f"{name}.html.j2", look=look, **content)

    @staticmethod
    def frame(
        main: bytes,
        *,
        active: str,
        who: str,
        cluster: str,
        version: str,
        assets: Mapping[str, str],
    ) -> bytes:
        """A whole page.

        Args:
            who: the visitor's name; "" for somebody nobody knows.
            assets: the digest of each file that it loads.
        """
        return _render(
            "frame.html.j2",
            main=Markup(main.decode()),  # noqa: S704 - made here
            active=active,
            pages=PAGES,
            who=who,
            cluster=cluster,
            version=version,
            assets=assets,
            themes=theme_block(),
        )

    @staticmethod
    def live_script() -> str:
        """What keeps a page up to date."""
        return _text("live.js")


def refusal_page(message: str, style: str) -> bytes:
    """What somebody sees who gets no page."""
    return _render("refusal.html.j2", message=message, style=style)


def read_query(name: str, query: str) -> dict[str, Any]:
    """What an address asks for.

    Raises:
        RequestError: an unknown parameter, or one that is out of its bounds.
    """
    known = PAGES[name].whole
    asked: dict[str, Any] = {key: default for key, (_, _, default) in known.items()}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=10)
    except ValueError as error:
        raise RequestError(FailureCode.BAD_REQUEST, f"query: {shown(str(error))}") from None
    for key, text in pairs:
        if key not in known:
            valid = ", ".join(known) or "none"
            raise RequestError(
                FailureCode.BAD_REQUEST, f"unknown parameter {shown(key)!r}; valid: {valid}"
            )
        low, high, _ = known[key]
        number = int(text) if _WHOLE.fullmatch(text) else -1
        if not low <= number <= high:
            raise RequestError(
                FailureCode.BAD_REQUEST,
                f"{key}: {shown(text)!r} is not valid: give a whole number from {low} to {high}",
            )
        asked[key] = number
    for key, value in asked.items():
        if value is None:
            raise RequestError(FailureCode.BAD_REQUEST, f"{key} is missing")
    return asked


def _text(name: str) -> str:
    package = resources.files("ef_slurm.daemon.serve.web")
    return (package / name).read_text(encoding="utf-8")


def _harmless(value: object) -> object:
    """Texts of other people have no power over what shows them; a missing value is a dash."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return printable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "-"
    return value


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(lambda name: _text(f"templates/{name}")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(when=when)
    environment.globals.update(figure=figure)
    return environment


def _render(template: str, **content: object) -> bytes:
    return _environment().get_template(template).render(content).encode()
