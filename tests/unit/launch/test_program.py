"""The fork server's text: all of its files, no larger than it may be."""

import ast
from pathlib import Path

from ef_slurm.launch.program import fork_server_program, sources
from ef_slurm.resources import templates_dir

NOWHERE = Path("/nowhere")


def test_every_file_is_in_it_behind_what_it_imports() -> None:
    found = sources(NOWHERE)
    files = {path.stem for path in (templates_dir() / "forkserver").glob("*.py")}
    names = {name.partition(".")[2] or "__init__" for name in found if name != "torchrun"}
    assert names == files
    before: set[str] = set()
    for name, text in found.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module == "forkserver":
                assert {f"forkserver.{alias.name}" for alias in node.names} <= before, name
            elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("forkserver."):
                assert node.module in before, name
        before.add(name)


def test_it_is_one_word_of_a_command() -> None:
    """Linux takes 128 KiB for a word; the queue and Slurm keep the text for every job."""
    text = fork_server_program(NOWHERE)
    assert len(text.encode()) < 32 * 1024
    ast.parse(text)


def test_the_sites_own_file_counts(tmp_path: Path) -> None:
    own = tmp_path / "templates" / "forkserver" / "store.py"
    own.parent.mkdir(parents=True)
    own.write_text("changed = True\n")
    assert sources(tmp_path)["forkserver.store"] == "changed = True\n"
    assert fork_server_program(tmp_path) != fork_server_program(NOWHERE)
