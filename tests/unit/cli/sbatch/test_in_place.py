"""ef-sbatch under the name `sbatch`: whose job it is, and that the other gets it untouched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ef_slurm.cli.sbatch.in_place import SCRIPT_ON, take_or_leave

CHECKOUT = Path(__file__).parents[4]
# Slurm's: tells what it was given, and what it would find as `sbatch`.
SBATCH = """#!/bin/sh
echo slurm "$@"
for word; do :; done
[ "$word" = /dev/stdin ] || [ $# -eq 0 ] && cat
command -v sbatch >&2
"""
EF_SBATCH = """#!{python}
import os, sys
from ef_slurm.cli.sbatch import command
command.run_click = lambda *_: print(
    "ours", *sys.argv[1:], os.environ["EF_SBATCH_SCRIPT_ON"], sys.stdin.read(), sep=" "
)
command.main()
"""
CONFIGURATION = "[slurm]\npartition = 'ef'\n"


class Place:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.front, slurm = directory / "front", directory / "slurm"
        for bin_dir, text in (
            (self.front, EF_SBATCH.format(python=sys.executable)),
            (slurm, SBATCH),
        ):
            bin_dir.mkdir()
            (bin_dir / "sbatch").write_text(text)
            (bin_dir / "sbatch").chmod(0o755)
        configuration = directory / "ef-slurm.toml"
        configuration.write_text(CONFIGURATION)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("EF_", "SBATCH_"))}
        self.environment = {
            **kept,
            "PATH": f"{self.front}:{slurm}:/usr/bin:/bin",
            "PYTHONPATH": str(CHECKOUT),
            "EF_SLURM_CONFIG": str(configuration),
        }

    def sbatch(self, *words: str, stdin: str = "", **environment: str) -> str:
        done = subprocess.run(
            ["sbatch", *words],
            input=stdin,
            env={**self.environment, **environment},
            cwd=self.directory,
            capture_output=True,
            text=True,
            check=False,
        )
        self.error = done.stderr
        return done.stdout.strip()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("lines", "words", "environment", "ours"),
    [
        ((), (), {}, False),
        ((), ("-p", "ef"), {}, True),
        ((), ("--partition=other",), {}, False),
        ((), (), {"SBATCH_PARTITION": "ef"}, True),
        (("#SBATCH -p ef",), (), {}, True),
        (("#SBATCH -p ef",), ("-p", "other"), {}, False),
        (("#SBATCH -p other",), ("-p", "ef"), {}, True),
        (("#SBATCH -p ef",), (), {"SBATCH_PARTITION": "other"}, False),
        (("#EF --deadline=+6h",), (), {}, True),
        (("#EF --deadline=+6h",), ("-p", "other"), {}, False),
        ((), (), {"EF_SBATCH_DEADLINE": "+6h"}, True),
        ((), ("--best-effort",), {}, True),
        ((), ("--deadline=2030-01-01",), {}, False),  # sbatch's own
        ((), ("--no-such-option", "-p", "ef"), {}, True),  # whose, is clear; ef-sbatch complains
    ],
)
def test_whose_job_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lines: tuple[str, ...],
    words: tuple[str, ...],
    environment: dict[str, str],
    ours: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job.sh").write_text("\n".join(("#!/bin/bash", *lines, "true", "")))
    Path("ef-slurm.toml").write_text(CONFIGURATION)
    monkeypatch.setenv("EF_SLURM_CONFIG", str(tmp_path / "ef-slurm.toml"))
    monkeypatch.setenv("PATH", f"/usr/bin:{tmp_path}:{tmp_path}/:/bin")
    for name in ("SBATCH_PARTITION", "EF_SBATCH_DEADLINE", "EF_SBATCH_BEST_EFFORT", SCRIPT_ON):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, given: became.append(given))
    take_or_leave(str(tmp_path / "sbatch"), [*words, "job.sh", "argument"])
    assert became == ([] if ours else [["sbatch", *words, "job.sh", "argument"]])
    assert os.environ.pop(SCRIPT_ON, None) == ("first" if ours else None)
    assert os.environ["PATH"] == "/usr/bin:/bin"


@pytest.mark.parametrize("named", [(), ("/dev/stdin",)])
def test_a_script_on_standard_input_is_read_by_whoever_takes_it(
    place: Place, named: tuple[str, ...]
) -> None:
    text = "#!/bin/sh\n#SBATCH -p ef\n" + "# x\n" * 50_000 + "true"
    assert place.sbatch(*named, stdin=text).endswith(f"first {text}")
    other = text.replace("-p ef", "-p other")
    assert place.sbatch(*named, stdin=other).endswith(other)


def test_the_link_is_out_of_the_way_then(place: Place) -> None:
    place.sbatch("--wrap=true")
    assert place.error.strip() == str(place.directory / "slurm" / "sbatch")


def test_where_ef_slurm_is_not_configured(place: Place) -> None:
    place.environment["EF_SLURM_CONFIG"] = str(place.directory / "none.toml")
    assert place.sbatch("-p", "ef", "job.sh").startswith("slurm")
    assert place.sbatch("--best-effort", "job.sh") == ""
    assert place.error.startswith("ef-sbatch: error: ")
    assert "Traceback" not in place.error
