"""The dashboard and the alert rules ask for what the daemon exports."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ef_slurm.daemon.metrics import Metrics
from ef_slurm.daemon.serve.audit_counts import AuditCounts
from ef_slurm.daemon.serve.present import Present
from ef_slurm.resources import site_config_dir

RULES = site_config_dir() / "prometheus" / "ef-slurm.rules.yml"
DASHBOARD = site_config_dir() / "grafana" / "ef-slurm.json"
OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"
OF_PROMETHEUS = {"job": {"ef-slurm"}, "instance": {"127.0.0.1:9830"}}
"""Labels that Prometheus itself adds to every series."""


@cache
def exported() -> dict[str, dict[str, set[str]]]:
    """Name → label → its values, of what a daemon exports that has just started and been asked."""
    metrics = Metrics("1")
    AuditCounts(metrics.registry)
    metrics.registry.register(Present(metrics, Path(__file__), lambda: 0))
    metrics.answered("ping", 200, 0.1)
    found: dict[str, dict[str, set[str]]] = {"up": {}}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            if sample.name.endswith("_created"):
                continue  # when a counter was made: of no use to anybody
            labels = found.setdefault(sample.name, {})
            for name, text in sample.labels.items():
                labels.setdefault(name, set()).add(text)
    return found


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    listed: list[dict[str, Any]] = group["rules"]
    return listed


def dashboard() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return parsed


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def targets() -> list[tuple[str, str, str]]:
    """Panel, expression with what Grafana puts into it, and legend."""
    return [
        (
            panel["title"],
            target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*"),
            target["legendFormat"],
        )
        for panel in panels()
        for target in panel["targets"]
    ]


EXPRESSIONS = [*((rule["alert"], rule["expr"]) for rule in rules())]
EXPRESSIONS += [(f"{title}: {legend}", expression) for title, expression, legend in targets()]


def nodes(expression: Any) -> Iterator[Any]:
    """The parts of a parsed expression."""
    yield expression
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        inner = getattr(expression, name, None)
        if inner is not None:
            yield from nodes(inner)
    for argument in getattr(expression, "args", ()):
        yield from nodes(argument)


def selectors(text: str) -> list[Any]:
    kinds = (promql_parser.VectorSelector,)
    return [node for node in nodes(promql_parser.parse(text)) if isinstance(node, kinds)]


@pytest.mark.parametrize(("name", "text"), EXPRESSIONS, ids=lambda text: text[:40])
def test_what_is_asked_for_is_there(name: str, text: str) -> None:
    found = selectors(text)
    assert found, name
    for selector in found:
        assert selector.name in exported(), f"{name}: nobody exports {selector.name}"
        labels = {**OF_PROMETHEUS, **exported()[selector.name]}
        for matcher in selector.matchers.matchers:
            assert matcher.name in labels, f"{name}: {selector.name} has no {matcher.name}"
            for wanted in matcher.value.split("|"):
                matching = [one for one in labels[matcher.name] if re.fullmatch(wanted, one)]
                assert matching, f"{name}: {matcher.name} is never {wanted}"


@pytest.mark.parametrize(("name", "text"), EXPRESSIONS, ids=lambda text: text[:40])
def test_what_is_grouped_by_is_there(name: str, text: str) -> None:
    known = {label for each in selectors(text) for label in exported()[each.name]}
    for listed in re.findall(r"\b(?:by|group_left|on) \(([^)]*)\)", text):
        for label in filter(None, re.split(r", *", listed)):
            assert label in known, f"{name}: nothing is labelled {label}"


def test_counters_are_asked_for_their_rate_and_gauges_are_not() -> None:
    for name, text in EXPRESSIONS:
        for function, metric in re.findall(r"(rate|increase)\(\s*(\w+)", text):
            assert metric.endswith(("_total", "_bucket", "_count", "_sum")), f"{name}: {function}"


@pytest.mark.parametrize(("title", "text", "legend"), targets())
def test_a_legend_names_labels_that_are_left(title: str, text: str, legend: str) -> None:
    used = set(re.findall(r"\{\{(\w+)\}\}", legend))
    kept = {label for listed in re.findall(r"by \(([^)]*)\)", text) for label in listed.split(", ")}
    assert used <= kept, title


def test_each_alert_says_what_it_means() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        summary = rule["annotations"]["summary"]
        assert summary
        used = set(re.findall(r"\$labels\.(\w+)", summary))
        grouped = re.search(r"by \(([^)]*)\)", rule["expr"])
        assert used <= set(grouped[1].split(", ") if grouped else ())


def test_operations_tells_what_to_do_at_each_alert() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    for rule in rules():
        assert f"\n### {rule['alert']}\n" in text
    told = set(re.findall(r"^### (EfSlurm\w+)$", text, re.M))
    assert told == {rule["alert"] for rule in rules()}


def test_operations_lists_what_is_exported() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(ef_slurm_\w+)", text, re.M))
    endings = r"(_bucket|_count|_sum)$"
    assert listed == {re.sub(endings, "", name) for name in exported() if "ef_slurm" in name}


def test_panels_do_not_overlap_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["title"]


def test_its_variables_are_those_that_are_used() -> None:
    text = DASHBOARD.read_text(encoding="utf-8")
    defined = {variable["name"] for variable in dashboard()["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", text)) - {"__rate_interval", "__all"}
    assert used == defined
    for variable in dashboard()["templating"]["list"]:
        asked = re.fullmatch(r"label_values\((\w+), instance\)", variable.get("definition", ""))
        assert asked is None or asked[1] in exported()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")
def test_prometheus_takes_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
