"""docker/release/debian says of the project what pyproject.toml says."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ef_slurm.cli.manual.files import completions
from ef_slurm.cli.manual.pages import PAGES, Page

TOP = Path(__file__).parents[2]
RELEASE = TOP / "docker" / "release"
DEBIAN = RELEASE / "debian"
PYPROJECT: dict[str, Any] = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Its module is in the package of its command.
ELSEWHERE = {"python3-sqlite-utils": "sqlite-utils"}
# Only for what is asked for with --html and --png: docs/web.md says how it comes beside them.
NOT_IN_DEBIAN = frozenset({"vl-convert-python"})


def stanzas() -> dict[str, dict[str, str]]:
    """The control file: "" is the source, the others are packages."""
    found = {}
    for text in (DEBIAN / "control").read_text().split("\n\n"):
        fields = dict(re.findall(r"^([\w-]+):\s*(.*(?:\n .*)*)", text, flags=re.M))
        found[fields.get("Package", "")] = fields
    return found


def relations(field: str) -> dict[str, str]:
    """Names to least versions, without Debian's epochs; "" for any version."""
    parts = re.findall(r"([a-z][\w-]*)(?:\s*\(>= (?:\d+:)?([\d.]+)\))?", field)
    return dict(parts)


def debian(requirements: list[str]) -> dict[str, str]:
    """Python packages as Debian calls them, with their least versions."""
    pairs = (re.fullmatch(r"([\w-]+)>=([\d.]+)", line) for line in requirements)
    found = {
        f"python3-{pair[1].lower()}": pair[2]
        for pair in pairs
        if pair and pair[1] not in NOT_IN_DEBIAN
    }
    return {ELSEWHERE.get(name, name): version for name, version in found.items()}


PARTS = {
    "ef-slurm": PROJECT["dependencies"],
    "ef-schedd": EXTRAS["daemon"],
    "ef-sim": EXTRAS["simulator"],
}


@pytest.mark.parametrize("package", PARTS)
def test_a_package_brings_what_pip_brings(package: str) -> None:
    fields = stanzas()[package]
    given = relations(fields["Depends"]) | relations(fields.get("Recommends", ""))
    python = {name: version for name, version in given.items() if version}
    assert python == debian(PARTS[package])
    missing = [line for line in PARTS[package] if line.partition(">=")[0] in NOT_IN_DEBIAN]
    assert len(python) == len(PARTS[package]) - len(missing)


def test_python_is_the_one_that_is_asked_for() -> None:
    assert stanzas()[""]["X-Python3-Version"] == PROJECT["requires-python"].replace("=", "= ")


def test_the_version_has_its_chapter_in_the_changelog() -> None:
    changelog = (TOP / "CHANGELOG.md").read_text(encoding="utf-8")
    chapters = re.findall(r"^## (.*)", changelog, flags=re.M)
    assert chapters[0] == "Unreleased"
    assert chapters[1].split()[0] == PROJECT["version"]


def test_every_command_is_in_one_package() -> None:
    lists = {path.stem: path.read_text().split() for path in DEBIAN.glob("*.install")}
    installed = [Path(line).name for lines in lists.values() for line in lines if "usr/bin" in line]
    assert sorted(installed) == sorted(PROJECT["scripts"])
    assert lists.keys() == stanzas().keys() - {""}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.program)
def test_manual_and_completion_are_in_the_package_of_their_command(page: Page) -> None:
    (lines,) = (
        lines
        for lines in (path.read_text().split() for path in DEBIAN.glob("*.install"))
        if f"usr/bin/{page.program}" in lines
    )
    zsh = "usr/share/zsh/vendor-completions"
    for name in (f"man/man{page.section}/{page.name}", *(name for name, _ in completions(page))):
        assert f"usr/share/{name}".replace("usr/share/zsh/site-functions", zsh) in lines


def test_what_makes_the_manuals_is_there() -> None:
    """The commands' packages, but for those that help needs not."""
    hook = (RELEASE / "hatch_build.py").read_text()
    (left_out,) = re.findall(r"^NOT_FOR_HELP = \((.*)\)", hook, flags=re.M)
    needed = set(debian([*PROJECT["dependencies"], *EXTRAS["simulator"]]))
    needed -= {f"python3-{name}" for name in re.findall(r"[\w-]+", left_out)} | ELSEWHERE.keys()
    needed -= set(ELSEWHERE.values())
    assert needed <= set((RELEASE / "packages.txt").read_text().splitlines())


def test_it_is_built_with_what_builds_the_wheel() -> None:
    (requirement,) = PYPROJECT["build-system"]["requires"]
    name, version = requirement.split(">=")
    depends = stanzas()[""]["Build-Depends"]
    assert f"python3-{name} (>= {version})" in depends
    # `dh-sequence-…` and debhelper-compat are other names of debhelper and dh-python.
    plain = {n for n in relations(depends) if not n.startswith(("dh-seq", "debhelper-"))}
    lines = (RELEASE / "packages.txt").read_text().splitlines()
    assert plain <= {line for line in lines if not line.startswith("#")}
