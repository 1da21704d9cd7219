"""What each kind of host must install (pyproject.toml), against what the code imports there."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
COMMANDS = {entry.partition(":")[0] for entry in PROJECT["scripts"].values()}
SUBCOMMANDS_OF_SIM = {f"ef_slurm.cli.sim.{name}" for name in ("simulate", "generate", "site")}
INSTALLING = {f"ef_slurm.cli.schedd.{name}" for name in ("installing", "trial", "trial_rights")}
IMPORTED_AS = {"vl-convert-python": "vl_convert"}
DAEMON = {"ef_slurm.daemon.main", "ef_slurm.daemon.check"}


def packages(*extras: str) -> set[str]:
    """Names under which what pyproject.toml lists is imported; without extras, of every install."""
    optional = PROJECT["optional-dependencies"]
    lists = [optional[extra] for extra in extras] or [PROJECT["dependencies"]]
    names = (re.match(r"[\w-]+", line) for listed in lists for line in listed)
    return {IMPORTED_AS.get(name[0], name[0]).replace("-", "_") for name in names if name}


def file_of(module: str) -> Path | None:
    path = TOP.joinpath(*module.split("."))
    return next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.exists()), None)


def at_import(body: list[ast.stmt]) -> Iterator[str]:
    """Modules (or names in them) that are imported when the module itself is."""
    for node in body:
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(module=str(module)):
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from at_import(node.orelse)
            case ast.If() | ast.Try() | ast.With():
                yield from at_import(node.body)


def imported_with(modules: set[str]) -> set[str]:
    """Packages that are not ours, imported with these modules and all that they import."""
    found, seen, left = set(), set(), list(modules)
    while left:
        module = left.pop()
        parts = module.split(".")
        if parts[0] != "ef_slurm":
            found.add(parts[0])
            continue
        for name in (".".join(parts[: i + 1]) for i in range(len(parts))):
            path = file_of(name)
            if path is not None and name not in seen:
                seen.add(name)
                left += at_import(ast.parse(path.read_text(encoding="utf-8")).body)
    return found - sys.stdlib_module_names


def test_commands_start_with_what_every_install_has() -> None:
    assert imported_with(COMMANDS) == packages()


def test_a_login_host_can_be_checked_and_a_service_be_set_up_with_them() -> None:
    assert imported_with({"ef_slurm.daemon.check", *INSTALLING}) <= packages()


def test_the_daemon_needs_what_its_extra_brings() -> None:
    assert imported_with(DAEMON) <= packages() | packages("daemon")
    assert packages("daemon") - imported_with(DAEMON) == {"sqlite_utils"}  # when a queue is made


def test_the_simulator_needs_what_its_extra_brings() -> None:
    assert imported_with(SUBCOMMANDS_OF_SIM) <= packages() | packages("simulator")
    unused = packages("simulator") - imported_with(SUBCOMMANDS_OF_SIM)
    assert unused == {"vl_convert", "sqlite_utils"}  # where charts and databases are asked for


def test_a_job_needs_torch_and_nothing_else() -> None:
    assert imported_with({"ef_slurm.training"}) == packages("training") == {"torch"}


def test_everything_imported_anywhere_is_declared() -> None:
    extras = [name for name in PROJECT["optional-dependencies"] if name != "dev"]
    declared = packages() | packages(*extras)
    for path in sorted((TOP / "ef_slurm").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.stmt):
                others = {name.split(".")[0] for name in at_import([node])} - {"ef_slurm"}
                assert others - sys.stdlib_module_names <= declared, f"{path}: {others - declared}"


@pytest.mark.parametrize(
    ("module", "arguments", "package", "told"),
    [
        ("ef_slurm.cli.schedd.command", ("run", "--once"), "numpy", "ef-schedd: error: needs the "
         "Python package numpy, which is not installed: install ef-slurm[daemon]"),
        ("ef_slurm.cli.sim.command", ("run", "trace.csv"), "numpy", "Error: needs the Python "
         "package numpy, which is not installed: install ef-slurm[simulator]"),
    ],
)  # fmt: skip
def test_a_missing_package_is_one_line(
    module: str, arguments: tuple[str, ...], package: str, told: str
) -> None:
    program = (
        f"import sys; sys.modules[{package!r}] = None; sys.argv = ['x', *{arguments!r}]\n"
        f"from {module} import main; main()"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == f"{told}\n"


def test_ef_sim_says_of_its_subcommands_what_they_say_themselves() -> None:
    import click

    from ef_slurm.cli.sim.command import main

    context = click.Context(main)
    help_text = " ".join(main.get_help(context).split())
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        summary = " ".join((command.help or "").split("\n\n")[0].split())
        assert f"{name} {summary.partition(' (')[0].rstrip('.')}" in help_text
