"""Who may import whom (docs/architecture.md): arrows point downwards, and there are no cycles."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ef_slurm"

# A room may import itself and the rooms named here; nothing else of ours.
MODEL = {"model", "contract"}
BASE = MODEL | {"formats"}
SERVICES = {"planner", "slurm", "queue", "launch", "siteconfig", "api"}
ROOMS: Mapping[str, set[str]] = {
    "": {"python"},
    "model": set(),
    "contract": set(),
    "resources": set(),
    "formats": {"model"},
    "planner": {"model"},
    "slurm": BASE,
    "queue": BASE,
    "api": BASE,
    "launch": BASE | {"resources"},
    "siteconfig": BASE | {"resources"},
    "charts": BASE,
    "simulator": BASE | {"planner", "profiling", "charts"},
    "profiling": BASE | SERVICES,
    "installation": BASE | {"slurm", "siteconfig", "resources"},
    "training": {"contract"},
    "daemon": BASE | SERVICES | {"profiling", "charts"},
    "cli": {
        *BASE,
        *SERVICES,
        "resources",
        "charts",
        "simulator",
        "profiling",
        "daemon",
        "installation",
    },
    "python": BASE | {"slurm", "siteconfig", "api", "cli"},
}

# The same inside rooms that have rooms: main → scheduler → serve, act → plan → observe.
OBSERVE = {"observe"}
PLAN = OBSERVE | {"plan"}
INSIDE: Mapping[str, Mapping[str, set[str]]] = {
    "contract": {
        "": set(),
        "records": set(),
        "environment": {"records"},
        "points": {"records"},
        "decode": {"records", "points"},
        "files": {"records", "decode"},
    },
    "daemon": {
        "": set(),
        "log_fields": set(),
        "journal": set(),
        "fence": {"log_fields"},
        "pauses": set(),
        "metrics": set(),
        "observe": {"fence", "metrics", "log_fields", "pauses"},
        "plan": OBSERVE | {"fence", "log_fields", "pauses"},
        "act": PLAN | {"fence", "log_fields", "pauses"},
        "serve": PLAN | {"metrics"},
        "settings": PLAN | {"act", "serve"},
        "looks": OBSERVE | {"settings", "metrics", "log_fields"},
        "ingest": PLAN | {"fence"},
        "acting": PLAN | {"act", "settings", "looks", "fence"},
        "scheduler": PLAN
        | {"act", "serve", "settings", "fence", "metrics"}
        | {"looks", "ingest", "acting"},
        "findings": set(),
        "startup": set(),
        "check_service": OBSERVE | {"findings", "startup"},
        "check_metrics": {"findings"},
        "check_records": OBSERVE | {"findings"},
        "check_notify": PLAN | {"act", "findings"},
        "check_web": {"findings"},
        "check": PLAN
        | {"act", "settings", "findings", "check_service", "check_notify"}
        | {"check_metrics", "check_records", "check_web"},
        "rebuild": OBSERVE,
        "acting_slurm": set(),
        "beginning": OBSERVE | {"startup"},
        "systemd": set(),
        "status_line": set(),
        "main": PLAN
        | {"act", "serve", "settings", "scheduler", "startup"}
        | {"systemd", "status_line", "metrics", "log_fields", "acting_slurm", "beginning"},
    },
    "planner": {
        "": set(),
        "timeline": set(),
        "placement": set(),
        "share": {"timeline"},
        "relocation": {"timeline", "placement"},
        "joint": {"timeline", "share"},
        "admission": {"timeline", "share", "relocation", "joint"},
        "risk": {"timeline", "share", "joint", "admission"},
        "allocation": {"timeline", "share"},
        "best_effort": {"timeline"},
        "explain": {"timeline"},
        "prices": {"timeline"},
        "refusal": {"timeline", "share", "admission"},
        "plan": {
            *("timeline", "share", "relocation", "admission", "risk"),
            *("allocation", "best_effort", "explain", "prices", "refusal", "waiting"),
        },
        "waiting": {"timeline"},
        "what_if": {"plan", "waiting"},
        "measuring": set(),
    },
    "cli": {
        "": set(),
        "common": set(),
        **{command: {"common"} for command in ("sbatch", "scancel", "schedd", "sim", "squeue")},
        "scontrol": {"common", "squeue"},
        "profile": {"common", "sbatch"},  # `ef-profile run` submits as ef-sbatch does
        "manual": {"common", "sbatch"},  # and loads each command by its name
    },
    "slurm": {
        "": set(),
        "errors": set(),
        "types": set(),
        "accounting_types": set(),
        "limits": {"accounting_types"},
        "pending": {"types"},
        "fair_share": {"types"},
        "interface": {"types", "accounting_types"},
        "guard": {"errors", "types", "interface"},
        "read_back": {"types"},
        "commands": {
            *("errors", "types", "accounting_types", "pending", "interface", "read_back"),
        },
        "bindings": {"errors", "types", "interface"},
    },
}
TORCH_ROOMS = {"training"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> tuple[str, ...]:
    """A module's place in the package: ("daemon", "plan", "record"), () for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def our_imports(path: Path) -> Iterator[tuple[str, ...]]:
    for name in imported(path):
        top, *rest = name.split(".")
        if top == "ef_slurm" and rest:
            yield tuple(rest)


def check_arrow(importer: str, wanted: str, allowed: Mapping[str, set[str]], where: str) -> None:
    assert importer in allowed, f"{where}: {importer!r} is no room here: say what it may import"
    if wanted not in allowed:
        return  # a name that a room's __init__ offers
    assert wanted == importer or wanted in allowed[importer], (
        f"{where}: {importer} may not import {wanted}"
    )


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_downwards(path: Path) -> None:
    here = dotted(path)
    room = here[0] if here else ""
    inner = here[1] if len(here) > 1 else ""
    for name in our_imports(path):
        check_arrow(room, name[0], ROOMS, str(path))
        if room in INSIDE and name[0] == room and len(name) > 1 and inner:
            check_arrow(inner, name[1], INSIDE[room], str(path))


@pytest.mark.parametrize("layers", [ROOMS, *INSIDE.values()])
def test_the_rules_themselves_have_no_cycle(layers: Mapping[str, set[str]]) -> None:
    left = dict(layers)
    while left:
        free = [room for room, below in left.items() if not below & left.keys()]
        assert free, f"these import one another: {sorted(left)}"
        for room in free:
            del left[room]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_training_imports_torch(path: Path) -> None:
    if (dotted(path) or ("",))[0] in TORCH_ROOMS:
        return
    assert not {name for name in imported(path) if name.split(".")[0] == "torch"}


def test_every_room_says_what_it_is_for() -> None:
    rooms = {path.parent for path in modules()}
    for room in sorted(rooms):
        introduction = room / "__init__.py"
        assert introduction.exists(), f"{room} has no __init__.py"
        assert ast.get_docstring(ast.parse(introduction.read_text(encoding="utf-8"))), (
            f"{introduction} does not say what the room is for"
        )


def test_no_empty_modules() -> None:
    for path in modules():
        assert path.read_text(encoding="utf-8").strip(), f"{path} is empty"
