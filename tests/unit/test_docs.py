"""What the documents name exists: paths, names in files, links, commands, options, states."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from pathlib import Path

import click
import pytest

from ef_slurm import contract
from ef_slurm.api.messages import FailureCode
from ef_slurm.api.routes import PREFIX, ROUTES
from ef_slurm.cli.profile.run_options import RUN_OPTIONS
from ef_slurm.cli.sbatch.options import OWN
from ef_slurm.cli.sbatch.sbatch_table import SBATCH
from ef_slurm.contract import Companion, Launch, LaunchState, Order, Phase, Progress
from ef_slurm.model import ChangeKind, Fault, IntentState, JobState, PromiseOutcome, PromiseState
from ef_slurm.queue.store import Queue
from tests.unit.test_import_rules import ROOMS

TOP = Path(__file__).parents[2]
PACKAGE = TOP / "ef_slurm"
DOCUMENTS = (
    *(TOP / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((TOP / "docs").glob("*.md")),
    TOP / "tests" / "benchmarks" / "README.md",
)
# The past is told with the names of the past.
PRESENT = tuple(path for path in DOCUMENTS if path.name != "CHANGELOG.md")
COMMANDS = (
    *("ef-sbatch", "ef-squeue", "ef-scancel", "ef-scontrol"),
    *("ef-schedd", "ef-sim", "ef-profile"),
)
SBATCH_OPTIONS = (*OWN, *(one.option for one in SBATCH))

by_document = pytest.mark.parametrize("path", PRESENT, ids=lambda path: path.name)


@cache
def prose(path: Path) -> str:
    """The text without fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def spans(path: Path) -> list[str]:
    """Code spans, each once."""
    found = re.findall(r"`([^`]+)`", prose(path))
    return list(dict.fromkeys(" ".join(span.split()) for span in found))


def defined(path: Path) -> set[str]:
    """`name`, and `Class.name`, of everything that a Python file defines."""

    def names(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from names(node.body, f"{prefix}{node.name}.")
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield prefix + node.target.id
            if isinstance(node, ast.Assign):
                yield from (prefix + t.id for t in node.targets if isinstance(t, ast.Name))

    return set(names(ast.parse(path.read_text(encoding="utf-8")).body, ""))


def find(name: str, document: Path) -> Path | None:
    """The file or folder that a document means: from the top, in the package, or beside it."""
    for root in (TOP, PACKAGE, document.parent):
        if (root / name).exists():
            return root / name
    return None


_NAME = re.compile(r"([\w./-]+\.py):([A-Za-z_][\w.]*)")
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)+/?|[\w-]+/|[\w.-]+\.(?:py|md|toml|j2|lua|conf)")
# Files of a job or a user, other people's, and the published data, which few have at hand.
_ELSEWHERE = (
    *("checkpoint/", "records/", "sched/", "cgroup/", "select/", "figures/", "ef-slurm.toml"),
    "../shared/",
)


@by_document
def test_paths_and_names_exist(path: Path) -> None:
    for span in spans(path):
        named = _NAME.fullmatch(span)
        if named:
            file = find(named[1], path)
            assert file is not None, f"{path.name} names {named[1]}, which is not there"
            assert named[2] in defined(file), f"{path.name}: {named[1]} defines no {named[2]}"
        elif _PATH.fullmatch(span) and not span.startswith(_ELSEWHERE):
            assert find(span, path) is not None, f"{path.name} names {span}, which is not there"


@cache
def source() -> frozenset[str]:
    """Every word of the project's own files."""
    folders = ("ef_slurm", "templates", "site-config", "docker", "tests")
    files = [file for folder in folders for file in (TOP / folder).rglob("*") if file.is_file()]
    words: set[str] = set()
    for file in [*files, TOP / "pyproject.toml"]:
        if file.suffix not in (".svg", ".pyc", ".json") and file != Path(__file__):
            words.update(re.findall(r"\w+", file.read_text(encoding="utf-8")))
    return frozenset(words)


@by_document
def test_identifiers_are_those_of_the_code(path: Path) -> None:
    """`CamelCase`, `snake_case` and `UPPER_CASE` in code spans are words of the source."""
    for span in spans(path):
        for word in re.findall(r"\w+", span) if re.fullmatch(r"[\w.]+(\(.*\))?", span) else []:
            telling = "_" in word.strip("_") or re.fullmatch(r"(?:[A-Z][a-z0-9]+){2,}", word)
            if telling and not word.startswith(("SLURM_", "NCCL_")):
                assert word in source(), f"{path.name} names `{span}`: no {word} in the source"


def slug(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    text = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return text.replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_internal_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        other = path.parent / name if name else path
        assert other.exists(), f"{path.name} links to {target}, which is not there"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", prose(other), re.M)
            assert anchor in {slug(heading) for heading in headings}, f"{path.name}: no {target}"


# --- commands


@cache
def click_command(program: str) -> click.Command:
    scripts = re.search(
        rf'^{program} = "([\w.]+):', (TOP / "pyproject.toml").read_text(encoding="utf-8"), re.M
    )
    assert scripts is not None, f"{program} is no command of ours"
    module = importlib.import_module(scripts[1])
    for name in ("_command", "main"):
        found = getattr(module, name, None)
        if isinstance(found, click.Command):
            return found
    raise AssertionError(f"{program}: no click command in {scripts[1]}")


def command_lines(path: Path) -> Iterator[list[str]]:
    """Invocations of our commands, in code spans and in code blocks."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^ *```(?:sh|bash|console)\n(.*?)^ *```$", text, re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^ {4}(.*)$", text, re.M)
    lines += spans(path)
    for line in lines:
        try:
            words = shlex.split(
                line.strip().removeprefix("$ ").removeprefix("sudo "), comments=True
            )
        except ValueError:
            continue
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            del words[0]
        if words and (words[0] in COMMANDS or words[0].startswith("ef-s")):
            yield words


def known_flags(command: click.Command) -> set[str]:
    return {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)} | {"--help"}


def flags_in(words: list[str]) -> Iterator[str]:
    for word in words:
        if re.match(r"--?[A-Za-z]", word):
            yield word.partition("=")[0]


@by_document
def test_commands_and_options_exist(path: Path) -> None:
    for program, *words in command_lines(path):
        if program not in COMMANDS:
            assert program in ("ef-slurm", "ef-slurm.toml"), f"{path.name}: no command {program}"
            continue
        run = (program, words[:1]) == ("ef-profile", ["run"])
        if program == "ef-sbatch" or run:
            flags = {option.flag for option in (RUN_OPTIONS if run else SBATCH_OPTIONS)}
            mine = words[: next((i for i, w in enumerate(words) if w.endswith(".py")), len(words))]
        else:
            command, mine = click_command(program), words
            if isinstance(command, click.Group) and mine and not mine[0].startswith("-"):
                named = command.get_command(click.Context(command), mine[0])
                assert named, f"{path.name}: {program} has no {mine[0]}"
                command, mine = named, mine[1:]
            flags = known_flags(command) | {"--version"}
        for flag in flags_in(mine):
            assert flag in flags, f"{path.name}: {program} has no {flag}"


@by_document
def test_shell_blocks_parse(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for block in re.findall(r"^ *```(?:sh|bash)\n(.*?)^ *```$", text, re.M | re.S):
        done = subprocess.run(
            ["bash", "-n"], input=block, capture_output=True, text=True, check=False
        )
        assert not done.returncode, f"{path.name}: {done.stderr}\n{block}"
        for word in re.findall(r"(?<![\w/])(?:tests|ef_slurm|docker|docs)/[\w./-]+", block):
            assert (TOP / word).exists(), f"{path.name}: {word} is not there"


def test_subcommands_of_the_mini_slurm_exist() -> None:
    shown = subprocess.run(
        [TOP / "docker" / "minislurm", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for path in PRESENT:
        text = path.read_text(encoding="utf-8")
        for word in re.findall(r"docker/minislurm ([a-z]+)", text):
            assert re.search(rf"^    {word} ", shown, re.M), f"{path.name}: no minislurm {word}"


# --- lists that must be whole


def table_keys(path: Path, heading: str) -> set[str]:
    """The code spans in the first column of the tables under a heading."""
    text = prose(path)
    part = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", text, re.M | re.S)
    assert part is not None, f"{path.name} has no heading {heading!r}"
    rows = re.findall(r"^\| ([^|]*) \|", part[1], re.M)
    return {key for row in rows for key in re.findall(r"`([^`]+)`", row)}


def values(states: type[Enum]) -> set[str]:
    return {member.value for member in states}


def test_the_glossary_has_every_state() -> None:
    glossary = TOP / "docs" / "glossary.md"
    assert table_keys(glossary, "Of a job") == values(JobState)
    assert table_keys(glossary, "Of an intent") == values(IntentState)
    assert table_keys(glossary, "Of a promise") == values(PromiseState) | values(PromiseOutcome)
    assert table_keys(glossary, "Kinds of change") == values(ChangeKind)
    assert table_keys(glossary, "Of a fault") == values(Fault)


def test_the_protocol_has_every_variable_and_file_key() -> None:
    protocol = TOP / "docs" / "protocol.md"
    variables = {v for k, v in vars(contract).items() if k.startswith("ENV_")}
    assert table_keys(protocol, "Environment") == variables
    records = (Order, Progress, Launch, Companion)
    keys = {name for record in records for name in record.__dataclass_fields__}
    files = {"generation", "EF_ORDER_FILE", "checkpoint/<n>/"}
    files |= {"launch.json", "progress.json", "companion.json"}
    assert table_keys(protocol, "Files") == keys | files | values(LaunchState)
    assert values(Phase) <= set(spans(protocol))
    codes = re.findall(r"^\| (\d+) \| `(\w+)`", prose(protocol), re.M)
    assert {(code.name, str(code.value)) for code in contract.Exit} == {(n, c) for c, n in codes}


def test_the_protocol_has_every_message() -> None:
    protocol = TOP / "docs" / "protocol.md"
    lines = {f"{route.method} {PREFIX}{route.path}" for route in ROUTES}
    assert table_keys(protocol, "Requests") == lines | values(FailureCode)
    assert {route.response.__name__ for route in ROUTES} <= set(spans(protocol))


def test_the_architecture_has_every_room() -> None:
    rooms = {
        f"{path.parent.relative_to(PACKAGE).as_posix()}/"
        for path in PACKAGE.rglob("__init__.py")
        if path.parent != PACKAGE
    }
    listed = table_keys(TOP / "docs" / "architecture.md", "The rooms")
    # A command's own folder needs no line: "cli/" says how they are laid out.
    small = {room for room in rooms if room.startswith("cli/")}
    small |= {"simulator/policies/", "simulator/report/"}
    assert rooms - small <= listed, rooms - small - listed


def test_the_architecture_has_the_rules_of_the_imports() -> None:
    text = prose(TOP / "docs" / "architecture.md")
    (part,) = re.findall(r"^### Who may import whom$(.*?)^#", text, re.M | re.S)
    told: dict[str, set[str]] = {}
    for left, right in re.findall(r"^\| (`.*) \| (.*) \|$", part, re.M):
        below = set(re.findall(r"`(\w+)`", right))
        if right.startswith("everything but"):
            below = set(ROOMS) - below - {"", "cli"}
        told.update(dict.fromkeys(re.findall(r"`(\w+)`", left), there(below)))
    assert told == {room: there(below) for room, below in ROOMS.items() if room in there(ROOMS)}


def there(rooms: Mapping[str, object] | set[str]) -> set[str]:
    """Those of the rooms that there are yet."""
    return {r for r in rooms if r and ((PACKAGE / r).is_dir() or (PACKAGE / f"{r}.py").exists())}


def test_the_tables_of_the_queue_exist(tmp_path: Path) -> None:
    with Queue.open(tmp_path / "queue.sqlite") as queue:
        rows = queue._database.query("SELECT name FROM sqlite_schema WHERE type = 'table'")
    part = prose(TOP / "docs" / "architecture.md").partition("Of the tables")[2]
    part = part.partition("\n#")[0]
    named = {
        key
        for row in re.findall(r"^\| ([^|]*) \|", part, re.M)
        for key in re.findall("`(.*?)`", row)
    }
    assert named
    assert named <= {row["name"] for row in rows}


# --- words


def texts() -> Iterator[Path]:
    """Every file of the project that people read."""
    folders = ("ef_slurm", "templates", "site-config", "docker", "tests", "docs")
    kinds = (".py", ".j2", ".lua", ".toml", ".md", ".conf", ".service", ".example", ".sh")
    yield from DOCUMENTS
    for folder in folders:
        yield from (f for f in sorted((TOP / folder).rglob("*")) if f.suffix in kinds)


def test_a_user_is_they() -> None:
    pronoun = re.compile(r"\b(?:[Hh]e|[Hh]is|[Hh]im|[Hh]imself|[Ss]he|[Hh]ers?)\b")
    for path in texts():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if path != Path(__file__):
                assert not pronoun.search(line), f"{path.relative_to(TOP)}:{number}: {line.strip()}"


def docstrings(path: Path) -> Iterator[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield text


@pytest.mark.parametrize("folder", ["ef_slurm", "docker", "templates", "tests"])
def test_docstrings_have_one_dialect(folder: str) -> None:
    """Google's sections, single backticks."""
    for path in sorted((TOP / folder).rglob("*.py")):
        for text in docstrings(path):
            assert "``" not in text, f"{path.relative_to(TOP)}: double backticks: {text}"
            assert not re.search(r"^\s*:(?:param|returns?|raises)\b", text, re.M), path
            assert not re.search(r"^(?:Parameters|Returns|Raises)\n-{3,}", text, re.M), path
