"""Who may import whom (the house rules): arrows point downwards only, and there are no cycles."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ef_slurm"

# A room may import itself and the rooms named here; nothing else of ours.
GROUND = {"model", "contract", "formats"}
SERVICES = {"planner", "slurm", "queue", "launch", "siteconfig", "api"}
ALLOWED: dict[str, set[str]] = {
    "": set(),
    "model": set(),
    "contract": set(),
    "resources": set(),
    "formats": {"model"},
    "planner": {"model"},
    "slurm": GROUND,
    "queue": GROUND,
    "launch": GROUND | {"resources"},
    "api": GROUND,
    "siteconfig": GROUND | {"resources"},
    "simulator": GROUND | {"planner"},
    "profiling": GROUND | SERVICES,
    "training": {"contract"},
    "daemon": GROUND | SERVICES | {"profiling"},
    "cli": GROUND | SERVICES | {"resources", "simulator", "profiling", "daemon"},
}
TORCH_ROOMS = {"training"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "ef_slurm":
                yield from (f"ef_slurm.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_point_downwards(path: Path) -> None:
    room = room_of(path)
    assert room in ALLOWED, f"{room} is no room of the house: add it to ALLOWED with its floor"
    for name in imported(path):
        top, *rest = name.split(".")
        if top != "ef_slurm" or not rest:
            continue
        assert rest[0] == room or rest[0] in ALLOWED[room], f"{path}: {room} may not import {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_training_imports_torch(path: Path) -> None:
    if room_of(path) in TORCH_ROOMS:
        return
    assert not {name for name in imported(path) if name.split(".")[0] == "torch"}


def test_no_empty_modules() -> None:
    for path in modules():
        assert path.read_text(encoding="utf-8").strip(), f"{path} is empty"
