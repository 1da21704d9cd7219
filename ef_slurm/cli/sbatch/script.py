"""What is to be run: a training script, a batch script with its directives, or a command."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.common.options import Options, ParsedOption
from ef_slurm.cli.common.problems import Problems
from ef_slurm.cli.sbatch.options import EF_OPTIONS, NOT_IN_SCRIPTS, OURS_INSTEAD, SLURM_OPTIONS
from ef_slurm.formats.printing import shortened
from ef_slurm.launch import is_python
from ef_slurm.model import LONGEST_NAME

COPY_NAME = "script"
"""What a batch script is called in the job's state directory."""
PYTHON_COPY_NAME = "script.py"
"""The same of a training script."""


@dataclass(frozen=True, slots=True)
class Script:
    """What is to be run.

    Args:
        name: the job's name unless there is another (sbatch(1), --job-name).
        model_name: under which its speed is remembered unless there is another (--model-name); ""
            where the words do not tell what is trained.
        words: the command; for a batch script only its arguments.
        torchrun: whether it is a Python script that torchrun starts, one rank per GPU.
        text: of a script that is copied, as sbatch does; None for what runs in place.
        options: of its directives.
    """

    name: str
    words: tuple[str, ...]
    torchrun: bool
    text: str | None = None
    options: tuple[ParsedOption, ...] = ()
    model_name: str = ""

    @property
    def calls_srun(self) -> bool:
        """Whether it starts steps of its own, as far as its text tells."""
        texts = self.words if self.text is None else (self.text,)
        return not self.torchrun and any(_SRUN.search(text) for text in texts)

    @property
    def copy_name(self) -> str:
        """What its copy is called in the job's state directory."""
        return PYTHON_COPY_NAME if self.torchrun else COPY_NAME

    def command(self, state_dir: Path) -> tuple[str, ...]:
        """What the job runs."""
        return self.words if self.text is None else (str(state_dir / self.copy_name), *self.words)


_SRUN = re.compile(
    r"""(?:^|[;&|({`]|\b(?:do|then|else|if|while|exec|time)\s)[ \t]*  # where a command begins
        (?:\w{1,99}=\S{0,999}[ \t]+){0,99}  # variables of it
        (?:\S{0,999}/)?srun\s""",  # bounds: data in a script may be one long line
    re.MULTILINE | re.VERBOSE,
)


def wrapped(command: str) -> Script:
    """The script of `--wrap`."""
    if not command.strip():
        raise UsageError("--wrap: nothing to run")
    return Script("wrap", ("/bin/sh", "-c", command), torchrun=False)


def from_text(text: str, problems: Problems | None = None, name: str = "sbatch") -> Script:
    """A batch script that came on standard input.

    Args:
        problems: takes what is wrong with its directives.

    Raises:
        UsageError: it is none; without `problems` also where a directive is wrong.
    """
    _check_batch_script(text, "standard input")
    options = directives(text, "standard input", problems=problems)
    return Script(name, (), torchrun=False, text=text, options=options)


def from_copy(state_dir: Path, problems: Problems | None = None) -> Script:
    """The script of a job before that was no file: its copy.

    Args:
        problems: takes what is wrong with its directives.

    Raises:
        OSError: it cannot be read.
        UsageError: as `from_text` does.
    """
    python = state_dir / PYTHON_COPY_NAME
    if python.exists():
        text = python.read_text(encoding="utf-8")
        return Script("script", (), torchrun=True, text=text)
    return from_text((state_dir / COPY_NAME).read_text(encoding="utf-8"), problems)


def from_words(words: Sequence[str], problems: Problems | None = None) -> Script:
    """The script and its arguments as they stood on the command line.

    Args:
        problems: takes what is wrong with its directives.

    Raises:
        UsageError: no such file, or no script; without `problems` also where a directive is wrong.
    """
    named, *arguments = words
    if named == ":":
        raise UsageError(f"{named!r}: {_HETEROGENEOUS}")
    path = Path(named)
    if not path.exists() and "/" not in named:
        found = shutil.which(named)
        if found is not None:
            path = Path(found)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"unable to open file {named}: {error.strerror}") from None
    absolute = str(path.absolute())
    if content.startswith(b"\x7fELF"):
        # Of `python3 train.py`, the script; what another binary trains, its name does not say.
        script = next((word for word in arguments if is_python(word)), "")
        return Script(
            path.name, (absolute, *arguments), torchrun=False, model_name=_model_name(script)
        )
    text = content.decode("utf-8", "replace")
    python = is_python(named)
    options = directives(text, named, python=python, problems=problems)
    model_name = _model_name(named)
    if python:
        return Script(
            path.name,
            (absolute, *arguments),
            torchrun=True,
            options=options,
            model_name=model_name,
        )
    _check_batch_script(text, named)
    return Script(
        path.name,
        tuple(arguments),
        torchrun=False,
        text=text,
        options=options,
        model_name=model_name,
    )


def _model_name(file: str) -> str:
    """A file's base name without its suffix, as far as it prints."""
    stem = "".join(letter for letter in Path(file).stem if letter.isprintable())
    return stem[:LONGEST_NAME].strip()


def _check_batch_script(text: str, name: str) -> None:
    """Refuse what sbatch refuses.

    Raises:
        UsageError: says why.
    """
    if not text.startswith("#!"):
        raise UsageError(_NOT_A_SCRIPT.format(name=name))
    if "\0" in text:
        raise UsageError(f"{name}: the batch script contains null bytes")
    if "\r\n" in text:
        line = text[: text.index("\r\n")].count("\n") + 1
        raise UsageError(
            f"{name}:{line}: the batch script contains DOS line breaks (\\r\\n) instead of "
            "UNIX ones (\\n): convert it, for example with dos2unix"
        )


_NOT_A_SCRIPT = (
    "{name}: this does not look like a batch script: the first line must start with #! followed "
    "by the path to an interpreter (Python training scripts are known by their .py)"
)


def directives(
    text: str, name: str, *, python: bool = False, problems: Problems | None = None
) -> tuple[ParsedOption, ...]:
    """The options of `#SBATCH` and `#EF` lines, which end where the first command stands.

    An `#EF` line without an option is a comment, as is every one behind the first command of a
    Python script.

    Args:
        problems: takes what is wrong, and the options that can be read are returned.

    Raises:
        UsageError: options that are wrong there, or an `#EF` line of a shell script that comes too
            late; all of them. Not with `problems`.
    """
    found = Problems() if problems is None else problems
    options: list[ParsedOption] = []
    commands = False
    # Not splitlines: what it takes for the end of a line, no shell and no Python does.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        where = f"{name}:{number}"
        if line.startswith("#SBATCH") and not commands:
            with found.collecting():
                options += _directive(line, "#SBATCH", SLURM_OPTIONS, where, found)
        elif _EF_LINE.match(line) and not (commands and python):
            if commands:
                found.add(f"{where}: an #EF line must stand before the first command")
            with found.collecting():
                options += _directive(line, "#EF", EF_OPTIONS, where, found)
        elif line.strip() and not line.lstrip().startswith("#"):
            commands = True
    if problems is None:
        found.tell()
    return tuple(options)


_EF_LINE = re.compile(r"#EF\s+['\"]?--?[A-Za-z]")
"""`#EF` and an option; what else begins so is a comment."""


def _directive(
    line: str, mark: str, options: Options, where: str, problems: Problems
) -> list[ParsedOption]:
    if len(line) > LONGEST_DIRECTIVE:
        raise UsageError(f"{where}: {len(line)} characters: {LONGEST_DIRECTIVE} at most")
    text = line.removeprefix(mark)
    try:
        # sbatch begins a comment at any # that is not quoted; a shell only where a word begins, and
        # images have names such as nvcr.io#nvidia/pytorch.
        if mark == "#EF":
            text = _without_comment(text)
        words = shlex.split(text, comments=mark != "#EF")
    except ValueError as error:
        raise UsageError(f"{where}: {shortened(line.strip(), _SHOWN)}: {error}") from None
    parsed, rest = options.parse(words, where, problems)
    if rest and rest[0] in ("hetjob", "packjob"):
        problems.add(f"{where}: {rest[0]}: {_HETEROGENEOUS}")
    elif rest:
        problems.add(f"{where}: {shortened(rest[0], _SHOWN)!r} is no option of {mark}")
    kept = []
    for option in parsed:
        name, flag = option.option.name, option.option.flag
        if name in NOT_IN_SCRIPTS:
            problems.add(f"{where}: {flag} belongs on the command line")
        elif mark == "#SBATCH" and name in OURS_INSTEAD:
            problems.add(f"{where}: {flag}: {OURS_INSTEAD[name]}")
        else:
            kept.append(option)
    return kept


LONGEST_DIRECTIVE = 1 << 16
"""Characters of a line with options."""
_SHOWN = 200
"""Characters of a wrong line."""
_HETEROGENEOUS = (
    "ef-slurm promises no heterogeneous jobs; submit each of its parts by itself, or with sbatch"
)


def _without_comment(text: str) -> str:
    """A line up to the first # that begins a word.

    >>> _without_comment("--a=b#c '# d' # it's e")
    "--a=b#c '# d' "
    """
    quote, before = "", " "
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote and (before != "\\" or quote == "'") else quote
        elif before == "\\":
            pass
        elif character in "'\"":
            quote = character
        elif character == "#" and before.isspace():
            return text[:place]
        before = "" if before == "\\" and character == "\\" else character
    return text
