"""The API as an OpenAPI 3.1 description, made from the table of routes and the messages' types."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

import msgspec

from ef_slurm.api.problems import MEDIA_TYPE, Problem
from ef_slurm.api.routes import PREFIX, ROUTES, VERSION, Route
from ef_slurm.formats.codec import pretty
from ef_slurm.formats.record_types import read_type, type_hints

DESCRIPTION_PATH = f"{PREFIX}/openapi.json"
_REFERENCE = "#/components/schemas/{name}"


@functools.cache
def description() -> bytes:
    """The description as JSON."""
    return pretty(document()).encode() + b"\n"


def document() -> dict[str, Any]:
    """The description."""
    kinds: list[Any] = [route.response for route in ROUTES]
    kinds += [route.request for route in ROUTES if route.has_body]
    kinds.append(Problem)
    hints = {hint for route in ROUTES for hint in _query_hints(route).values()}
    schemas, components = msgspec.json.schema_components(
        [read_type(kind, False) for kind in (*dict.fromkeys(kinds), *hints)],
        ref_template=_REFERENCE,
    )
    of_hint = dict(zip(hints, schemas[-len(hints) :], strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, of_hint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ef-slurm",
            "description": "What may be asked of ef-schedd. Times are UTC epoch seconds, durations "
            'seconds; an infinite number is the text "inf". docs/protocol.md tells the rest.',
            "version": str(VERSION),
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(route: Route, of_hint: Mapping[Any, Any]) -> dict[str, Any]:
    summary, _, _ = (inspect.getdoc(route.request) or "").partition("\n")
    answers: dict[str, Any] = {"200": _content("The answer.", route.response)}
    if route.created:
        answers["201"] = _content("It was not there before.", route.response)
    problem = {MEDIA_TYPE: {"schema": _schema(Problem)}}
    answers["default"] = {"description": "It was not done, and why.", "content": problem}
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route, of_hint)],
        "responses": answers,
    }
    if route.has_body:
        operation["requestBody"] = {"required": True, **_content("", route.request)}
        del operation["requestBody"]["description"]
    return operation


def _content(words: str, kind: type[Any]) -> dict[str, Any]:
    return {
        "description": words,
        "content": {"application/json": {"schema": _schema(kind)}},
    }


def _schema(kind: Any) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(name=kind.__name__)}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "in": "path",
            "required": True,
            "description": "Slurm's.",
            "schema": {"type": "integer", "minimum": 1},
        }
        for each in fields(route.request)
        if f"{{{each.name}}}" in route.path
    ]


def _query_hints(route: Route) -> dict[str, Any]:
    """The type hints of what is in the query, by field."""
    kind: Any = route.request
    hints = type_hints(kind)
    return {name: hints[name] for name in route.query.values()}


def _query_parameters(route: Route, of_hint: Mapping[Any, Any]) -> list[dict[str, Any]]:
    hints = _query_hints(route)
    known = {each.name: each for each in fields(route.request)}
    return [
        {
            "name": parameter,
            "in": "query",
            "required": _is_required(known[name]),
            "schema": of_hint[hints[name]],
        }
        for parameter, name in route.query.items()
    ]


def _is_required(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING
