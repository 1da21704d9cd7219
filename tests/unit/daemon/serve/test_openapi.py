"""The description says what the code does."""

import http.client
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ef_slurm.api.problems import Problem
from ef_slurm.api.routes import PREFIX, ROUTES, Route
from ef_slurm.daemon.serve.limits import ServeLimits
from ef_slurm.daemon.serve.openapi import DESCRIPTION_PATH, description, document
from ef_slurm.formats.record_types import read_type
from tests.unit.daemon.serve.stub import serving

DOCUMENT = document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def references(value: Any) -> set[str]:
    return set(re.findall(r'"\$ref": "([^"]*)"', json.dumps(value)))


def test_it_has_every_route_and_no_other() -> None:
    found = {
        (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert found == {(route.method, PREFIX + route.path) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_an_operation_is_as_the_messages_are(route: Route) -> None:
    operation = DOCUMENT["paths"][PREFIX + route.path][route.method.lower()]
    assert operation["operationId"] == route.name
    assert operation["summary"].strip()
    parameters = {one["name"]: one for one in operation["parameters"]}
    in_path = set(re.findall(r"{(\w+)}", route.path))
    assert set(parameters) == {*route.query, *in_path}
    for name in in_path:
        assert (parameters[name]["in"], parameters[name]["required"]) == ("path", True)
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": f"#/components/schemas/{route.response.__name__}"}
    assert ("201" in operation["responses"]) is route.created
    assert ("requestBody" in operation) is route.has_body


def test_schemas_are_those_of_the_codec() -> None:
    for kind in {*(route.response for route in ROUTES), Problem}:
        schema = SCHEMAS[kind.__name__]
        assert set(schema["properties"]) == {each.name for each in fields(kind)}
    alone = msgspec.json.schema_components(
        [read_type(Problem, False)], ref_template="#/components/schemas/{name}"
    )[1]["Problem"]
    assert SCHEMAS["Problem"] == alone


def test_every_reference_leads_somewhere() -> None:
    known = {f"#/components/schemas/{name}" for name in SCHEMAS}
    assert references(DOCUMENT) <= known
    assert len(references(DOCUMENT)) > 10


def test_infinity_may_be_a_text() -> None:
    text = json.dumps(SCHEMAS["JobView"])
    assert '"inf"' in text


def test_it_is_served(tmp_path: Path) -> None:
    with serving(tmp_path, ServeLimits()) as stub, stub.connect() as stream:
        stream.sendall(f"GET {DESCRIPTION_PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = http.client.HTTPResponse(stream)
        answer.begin()
        assert (answer.status, answer.read()) == (200, description())
