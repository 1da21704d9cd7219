"""docker/release/debian says of the project what pyproject.toml says."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parents[2]
RELEASE = TOP / "docker" / "release"
DEBIAN = RELEASE / "debian"
PYPROJECT: dict[str, Any] = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
# Its module is in the package of its command.
ELSEWHERE = {"python3-sqlite-utils": "sqlite-utils"}


def stanzas() -> dict[str, dict[str, str]]:
    """The control file: "" is the source, the others are packages."""
    found = {}
    for text in (DEBIAN / "control").read_text().split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+):\s*(.*(?:\n .*)*)", text, flags=re.M))
        found[fields.get("Package", "")] = fields
    return found


def names(field: str) -> set[str]:
    return {part.split()[0] for part in re.split(r"[,|]\s*", field) if part.strip()}


def debian(requirements: list[str]) -> set[str]:
    plain = {re.match(r"[\w-]+", line)[0].lower() for line in requirements}  # type: ignore[index]
    return {ELSEWHERE.get(f"python3-{name}", f"python3-{name}") for name in plain}


@pytest.mark.parametrize(("package", "extra"), [("ef-schedd", "daemon"), ("ef-sim", "simulator")])
def test_a_package_brings_what_its_extra_brings(package: str, extra: str) -> None:
    fields = stanzas()[package]
    wanted = debian(EXTRAS[extra])
    given = names(fields["Depends"]) | names(fields["Recommends"])
    assert {name for name in given if name.startswith("python3-") or "sqlite" in name} == wanted
    assert "ef-slurm" in names(fields["Depends"])


def test_every_command_is_in_one_package() -> None:
    lists = {path.stem: path.read_text().split() for path in DEBIAN.glob("*.install")}
    installed = [Path(line).name for lines in lists.values() for line in lines if "usr/bin" in line]
    assert sorted(installed) == sorted(PYPROJECT["project"]["scripts"])
    assert lists.keys() == stanzas().keys() - {""}


def test_it_is_built_with_what_builds_the_wheel() -> None:
    (requirement,) = PYPROJECT["build-system"]["requires"]
    name, version = requirement.split(">=")
    depends = stanzas()[""]["Build-Depends"]
    assert f"python3-{name} (>= {version})" in depends
    # `dh-sequence-…` and debhelper-compat are other names of debhelper and dh-python.
    plain = {name for name in names(depends) if not name.startswith(("dh-seq", "debhelper-"))}
    lines = (RELEASE / "packages.txt").read_text().splitlines()
    assert plain <= {line for line in lines if not line.startswith("#")}
