"""Which path and method asks what: one table for the client, the daemon and the description.

A request's fields are in the path, in the query (GET, DELETE) or in a JSON body (POST). Both
directions are here: `write` for the client, `read` for the daemon; `read` is total, so that any
method, target and body give a request or a `RequestError`.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from types import MappingProxyType, NoneType
from typing import Any, cast, get_args, get_origin
from urllib.parse import parse_qsl, quote, urlencode

from ef_slurm.api import messages
from ef_slurm.api.messages import Failure, FailureCode, Request
from ef_slurm.formats.codec import DecodeError, decode, encode, from_plain, to_plain
from ef_slurm.formats.record_types import type_hints
from ef_slurm.model import HistoryPage, JobDetail, JobList, Story

PREFIX = "/v1"
"""Of every path. It changes when old and new requests cannot be told apart any more."""
VERSION_HEADER = "Ef-Slurm-Protocol"
"""With `VERSION` of the messages in it: in ef-slurm's own requests, and in every answer."""
CLUSTER_HEADER = "Ef-Slurm-Cluster"
"""Slurm's name of the cluster that a request is meant for, where the sender knows it."""
VERSION = 7
"""Rises when an older reader would misread a message: a field without a default, a new word."""

BODY_LIMIT = 1 << 20
"""Bytes of the longest request body."""
TARGET_LIMIT = 6000
"""Characters of the longest path and query: 400 job ids."""
RESPONSE_LIMIT = 1 << 26
"""Bytes of the longest answer's body."""
_PARAMETERS = 1000


class RequestError(Exception):
    """A request that is not granted; `failure` says why."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(code, message)


@dataclass(frozen=True, slots=True)
class Route:
    """One kind of request.

    Args:
        name: what the description and the logs call it.
        path: without `PREFIX`; `{job_id}` stands for the field of that name.
        request, response: the message, and what answers it.
        query: parameter → field, for GET and DELETE. Others take the fields from the body.
        created: whether the answer may be 201.
    """

    name: str
    method: str
    path: str
    request: type[Any]
    response: type[Any]
    query: Mapping[str, str] = field(default_factory=dict)
    created: bool = False

    @property
    def has_body(self) -> bool:
        """Whether the fields travel in a body."""
        return self.method == "POST"


_KEY = ("model_name", "global_batch_size", "precision")
_RATES = {name: name for name in (*_KEY, "gpu_type")}

ROUTES: tuple[Route, ...] = (
    Route("ping", "GET", "/ping", messages.Ping, messages.Pong),
    Route(
        "list",
        "GET",
        "/jobs",
        messages.ListJobs,
        JobList,
        {"user": "users", "state": "states", "id": "job_ids", "all": "all"},
    ),
    Route(
        "list-history",
        "GET",
        "/history",
        messages.ListHistory,
        HistoryPage,
        {
            "since": "since",
            "until": "until",
            "user": "users",
            "account": "accounts",
            "after": "after",
            "after_row": "after_row",
        },
    ),
    Route("register", "POST", "/jobs", messages.Register, messages.Registered, created=True),
    Route(
        "await",
        "GET",
        "/jobs/{job_id}",
        messages.Await,
        JobDetail,
        {"until": "until", "wait": "seconds"},
    ),
    Route("withdraw", "DELETE", "/jobs/{job_id}", messages.Withdraw, messages.Withdrawn),
    Route("change", "POST", "/changes", messages.ChangeJob, messages.JobChanged),
    Route("act", "POST", "/actions", messages.ActOnJob, messages.JobActedOn),
    Route(
        "train-on",
        "POST",
        "/active-gpus",
        messages.TrainOn,
        messages.TrainsOn,
    ),
    Route("explain", "GET", "/jobs/{job_id}/story", messages.Explain, Story),
    Route("cancel", "POST", "/cancellations", messages.Cancel, messages.Cancelled),
    Route("judge", "POST", "/what-if", messages.Judge, messages.Judged),
    Route(
        "find-curves",
        "GET",
        "/curves",
        messages.FindCurves,
        messages.KnownCurves,
        {name: name for name in _KEY},
    ),
    Route("list-rates", "GET", "/rates", messages.ListRates, messages.Rates, _RATES),
    Route("add-rates", "POST", "/rates", messages.AddRates, messages.RatesChanged),
    Route("delete-rates", "DELETE", "/rates", messages.DeleteRates, messages.RatesChanged, _RATES),
)

_BY_REQUEST: Mapping[type[Request], Route] = MappingProxyType(
    {route.request: route for route in ROUTES}
)
_JOB_ID = r"[1-9][0-9]{0,17}"
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,3})?", re.ASCII)


@functools.cache
def _patterns() -> tuple[tuple[re.Pattern[str], Route], ...]:
    """What paths look like. The client does not need to know."""
    field_of = re.compile(r"\\{(\w+)\\}")
    return tuple(
        (re.compile(field_of.sub(rf"(?P<\1>{_JOB_ID})", re.escape(PREFIX + route.path))), route)
        for route in ROUTES
    )


def route_of(request: Request) -> Route:
    """How a request travels."""
    return _BY_REQUEST[type(request)]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it travels.

    Args:
        target: path and query.
    """

    method: str
    target: str
    body: bytes = b""


def write(request: Request) -> HttpRequest:
    """A request as method, target and body. What has its default is left out of the query."""
    route = route_of(request)
    plain = to_plain(request)
    path = PREFIX + route.path.format_map({name: quote(str(plain[name])) for name in plain})
    if route.has_body:
        return HttpRequest(route.method, path, encode(request))
    defaults = {each.name: each.default for each in fields(request)}
    given = [
        (parameter, _text(value))
        for parameter, name in route.query.items()
        if plain[name] is not None and getattr(request, name) != defaults[name]
        for value in (plain[name] if isinstance(plain[name], list | tuple) else [plain[name]])
    ]
    return HttpRequest(route.method, f"{path}?{urlencode(given)}" if given else path)


def read(method: str, target: str, body: bytes) -> Request:
    """The request that was meant.

    Raises:
        RequestError: there is none such, with what would be valid.
    """
    if len(target) > TARGET_LIMIT:
        raise RequestError(
            FailureCode.TOO_LARGE,
            f"a path and query of {len(target)} characters, at most {TARGET_LIMIT} are accepted",
        )
    path, _, query = target.partition("?")
    route, values = _find(method, path)
    try:
        if not route.has_body:
            if body:
                raise DecodeError(route.name, f"a {method} request has no body here")
            values.update(_from_query(route, query))
            return cast(Request, from_plain(route.request, values, route.name))
        if query:
            raise DecodeError(route.name, "takes its fields from the body, not from a query")
        return cast(Request, decode(route.request, body, route.name))
    except DecodeError as error:
        raise RequestError(FailureCode.BAD_REQUEST, str(error)) from None


def methods_of(path: str) -> tuple[str, ...]:
    """The methods that a path knows."""
    return tuple(route.method for pattern, route in _patterns() if pattern.fullmatch(path))


def _find(method: str, path: str) -> tuple[Route, dict[str, Any]]:
    known = methods_of(path)
    if not known:
        if path.startswith("/v") and not path.startswith(PREFIX + "/"):
            message = f"this ef-schedd serves {PREFIX}/…, not {shown(path)}"
            raise RequestError(FailureCode.OTHER_VERSION, message)
        raise RequestError(
            FailureCode.NO_SUCH_PATH,
            f"there is no {shown(path)}: {PREFIX}/openapi.json lists what there is",
        )
    for pattern, route in _patterns():
        match = pattern.fullmatch(path)
        if match is not None and route.method == method:
            return route, {name: int(text) for name, text in match.groupdict().items()}
    raise RequestError(
        FailureCode.NO_SUCH_METHOD,
        f"{shown(path)} knows {', '.join(sorted(known))}, not {shown(method)}",
    )


def shown(text: str) -> str:
    """A text from outside, fit for a terminal and a log."""
    text = text if len(text) <= 80 else text[:80] + "…"
    return text if text.isprintable() else repr(text)[1:-1]


def _from_query(route: Route, query: str) -> dict[str, Any]:
    """Values by field name, still plain."""
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, errors="strict", max_num_fields=_PARAMETERS
        )
    except ValueError as error:  # no UTF-8, or too many
        raise DecodeError(f"{route.name} query", shown(str(error))) from None
    kind: Any = route.request
    hints, texts = type_hints(kind), dict[str, list[str]]()
    for parameter, text in pairs:
        if parameter not in route.query:
            valid = ", ".join(route.query) or "none"
            problem = f"unknown parameter {shown(parameter)!r}; valid: {valid}"
            raise DecodeError(f"{route.name} query", problem)
        texts.setdefault(parameter, []).append(text)
    values = {}
    for parameter, given in texts.items():
        name, where = route.query[parameter], f"{route.name} query: {parameter}"
        hint = hints[name]
        if get_origin(hint) is tuple:
            values[name] = [_plain(get_args(hint)[0], text, where) for text in given]
        elif len(given) == 1:
            values[name] = _plain(hint, given[0], where)
        else:
            raise DecodeError(where, f"expected once, got {len(given)} times")
    for each in fields(route.request):
        needed = each.default is MISSING and each.default_factory is MISSING
        if needed and each.name in route.query.values() and each.name not in values:
            missing = next(key for key, name in route.query.items() if name == each.name)
            raise DecodeError(f"{route.name} query", f"{missing} is missing")
    return values


def _plain(hint: Any, text: str, where: str) -> Any:
    """A parameter's text as the codec's plain value; enums are the codec's to check."""
    kinds = set(_choices(hint))
    if bool in kinds:
        if text not in ("true", "false"):
            raise DecodeError(where, f"expected true or false, got {shown(text)!r}")
        return text == "true"
    if int in kinds:
        if not _WHOLE.fullmatch(text):
            raise DecodeError(where, f"expected a whole number, got {shown(text)!r}")
        return int(text)
    if float in kinds:
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
        if not math.isfinite(number):
            raise DecodeError(where, f"expected a number, got {shown(text)!r}")
        return number
    return text


def _choices(hint: Any) -> Iterable[Any]:
    return [choice for choice in get_args(hint) or (hint,) if choice is not NoneType]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.value if isinstance(value, Enum) else value)
