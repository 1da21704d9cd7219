"""What commands print is made harmless in one place."""

import ast
import json
from pathlib import Path

import pytest

import ef_slurm.cli
from ef_slurm.cli.common.entry import complain
from ef_slurm.cli.common.output import say, say_json

ROOT = Path(next(iter(ef_slurm.cli.__path__)))

# Who calls click.echo itself: texts that are our own or the user's, or that `say` cannot print
# (colours, the screen of --watch, scripts and files).
OWN_PRINTING = {
    "common/entry.py": {"_tell"},
    "common/grouped.py": {"parse_args"},
    "common/output.py": {"say", "say_json"},
    "common/version.py": {"show"},
    "profile/command.py": {"export_command"},
    "sbatch/command.py": {"_command", "_print_script"},
    "schedd/command.py": {"_check", "told"},
    "schedd/installing.py": {"_indented"},
    "sim/command.py": {"main"},
    "sim/outputs.py": {"write_text"},
    "squeue/listing.py": {"list_jobs", "refresh"},
}


def test_nobody_else_prints() -> None:
    found: dict[str, set[str]] = {}
    for file in ROOT.rglob("*.py"):
        for function in ast.walk(ast.parse(file.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
            if any(ast.unparse(call) in ("click.echo", "print", "click.secho") for call in calls):
                found.setdefault(str(file.relative_to(ROOT)), set()).add(function.name)
    nested = {name: names - {"version_option"} for name, names in found.items()}
    assert nested == OWN_PRINTING


def test_lines_and_errors_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    say("job \x1b[2J\nforged")
    complain("ef-x", "name \x1b]0;t\x07\u202e\nsecond")
    out, err = capsys.readouterr()
    assert out == "job \\x1b[2J\\nforged\n"
    assert err == "ef-x: error: name \\x1b]0;t\\x07\\u202e\nef-x: error: second\n"


def test_json_is_exact_and_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[2J\n\u202e学\x9b"
    say_json({"name": name})
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert json.loads(out) == {"name": name}
