"""An installed wheel, not only a checkout, finds its data files, and its commands work."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
from pathlib import Path
from typing import Any

import pytest

from ef_slurm import resources

CHECKOUT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
PROBE = """
from pathlib import Path
import ef_slurm
from ef_slurm import resources
package = Path(ef_slurm.__file__).parent
for directory in (resources.templates_dir(), resources.site_config_dir()):
    assert directory.is_relative_to(package), directory
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            print(directory.name, path.relative_to(directory).as_posix())
"""


def files(directory: Path) -> set[str]:
    return {
        f"{directory.name} {path.relative_to(directory).as_posix()}"
        for path in directory.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_a_checkout_finds_its_data() -> None:
    assert resources.templates_dir() == CHECKOUT / "templates"
    assert resources.site_config_dir() == CHECKOUT / "site-config"


def test_an_incomplete_installation_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "ef_slurm")
    with pytest.raises(FileNotFoundError, match=r"templates/ is neither at .* reinstall ef-slurm"):
        resources.templates_dir()


def test_the_sites_file_counts_before_the_shipped_one(tmp_path: Path) -> None:
    unit = "site-config/systemd/ef-schedd.service"
    template = "templates/torchrun.sbatch.j2"
    assert resources.find(unit, site=tmp_path) == CHECKOUT / unit
    assert resources.find(template, site=tmp_path) == CHECKOUT / template

    for own in ("systemd/ef-schedd.service", "templates/torchrun.sbatch.j2"):
        (tmp_path / own).parent.mkdir()
        (tmp_path / own).write_text("ours")
    assert resources.find(unit, site=tmp_path) == tmp_path / "systemd/ef-schedd.service"
    assert resources.find(template, site=tmp_path) == tmp_path / "templates/torchrun.sbatch.j2"


def test_the_installed_file_counts_before_that_of_a_checkout(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "ef_slurm")
    found = []
    for directory in (tmp_path, tmp_path / "ef_slurm" / "_share"):
        (directory / "templates").mkdir(parents=True)
        (directory / "templates" / "a.j2").write_text("")
        found.append(resources.find("templates/a.j2", site=tmp_path / "none"))
    assert found == [
        tmp_path / "templates/a.j2",
        tmp_path / "ef_slurm" / "_share" / "templates/a.j2",
    ]


def test_a_file_that_is_nowhere_is_named_with_the_places(tmp_path: Path) -> None:
    site = tmp_path / "site"
    with pytest.raises(FileNotFoundError, match=f"x is neither at {site}/templates/x nor "):
        resources.find("templates/x", site=site)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a virtual environment with the wheel that is made from the sdist."""
    top = tmp_path_factory.mktemp("wheel")
    ignored = [line.rstrip("/") for line in (CHECKOUT / ".gitignore").read_text().splitlines()]
    shutil.copytree(CHECKOUT, top / "source", ignore=shutil.ignore_patterns(".git", *ignored))
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(top)]
    plain = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # or the source is no checkout any more
    subprocess.run(
        [*build, str(top / "source")], check=True, capture_output=True, timeout=300, env=plain
    )
    (sdist,) = top.glob("*.tar.gz")
    check_sdist(sdist, top / "source")
    (wheel,) = top.glob("*.whl")
    environment = top / "venv"
    venv.create(environment, with_pip=False, symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install"]
    options = ["--no-deps", "--no-index", "--no-compile", "-q"]
    subprocess.run([*pip, *options, str(wheel)], check=True, timeout=300)
    # What it depends on is this environment's, behind its own: another ef-slurm may be there.
    (site,) = (environment / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment


def check_sdist(sdist: Path, source: Path) -> None:
    """It holds the checkout: all that is built, tested or read from it."""
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    there = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert there - packed == set()


def run(installed: Path, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the installation."""
    environment = {
        "PATH": f"{installed}/bin:/usr/bin:/bin",
        "HOME": str(cwd),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [str(installed / "bin" / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=120,
        check=False,
    )


def test_an_installed_wheel_finds_its_data(installed: Path, tmp_path: Path) -> None:
    probe = run(installed, "python", "-c", PROBE, cwd=tmp_path)
    found = set(probe.stdout.splitlines())
    assert found == files(CHECKOUT / "templates") | files(CHECKOUT / "site-config"), probe.stderr
    assert found
    (license_file,) = installed.rglob("ef_slurm-*.dist-info/licenses/LICENSE")
    assert license_file.read_bytes() == (CHECKOUT / "LICENSE").read_bytes()


@pytest.mark.parametrize("command", sorted(PROJECT["scripts"]))
def test_every_installed_command_works_anywhere(
    installed: Path, tmp_path: Path, command: str
) -> None:
    shown = run(installed, command, "--version", cwd=tmp_path)
    assert shown.stdout.split() in (
        [f"{command},", "version", PROJECT["version"]],
        [command, PROJECT["version"]],  # as sbatch does
    ), shown.stderr
    helped = run(installed, command, "--help", cwd=tmp_path)
    assert helped.returncode == 0, helped.stderr
    assert "usage:" in helped.stdout.lower()


@pytest.mark.parametrize("command", sorted(PROJECT["scripts"]))
def test_every_installed_command_has_manual_and_completion(installed: Path, command: str) -> None:
    (page,) = (installed / "share" / "man").glob(f"man*/{command}.*")
    assert f"ef\\-slurm {PROJECT['version']}" in page.read_text()
    for place in ("bash-completion/completions/{}", "zsh/site-functions/_{}",
                  "fish/vendor_completions.d/{}.fish"):  # fmt: skip
        assert command in (installed / "share" / place.format(command)).read_text()


def test_an_installed_command_completes(installed: Path, tmp_path: Path) -> None:
    """In the shell itself: what the Tab key would offer."""
    script = installed / "share" / "bash-completion" / "completions" / "ef-sbatch"
    typed = (
        f"source {script}; COMP_WORDS=(ef-sbatch --if-inf); COMP_CWORD=1;"
        " $(complete -p ef-sbatch | grep -o '_[a-z_]*completion') ef-sbatch; echo ${COMPREPLY[@]}"
    )
    environment = {
        "PATH": f"{installed}/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        ["bash", "-c", typed], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.split() == ["--if-infeasible"], done.stderr


def test_an_installed_ef_sbatch_renders_the_shipped_template(
    installed: Path, tmp_path: Path
) -> None:
    numbers = ("--iterations=1", "--global-batch-size=1", "--throughput=1:1")
    script = run(
        installed, "ef-sbatch", "--dry-run", "--best-effort", *numbers, "--wrap=true", cwd=tmp_path
    )
    assert script.stdout.startswith("#!/bin/bash\n#SBATCH "), script.stderr
    read = subprocess.run(["bash", "-n"], input=script.stdout, text=True, check=False)
    assert read.returncode == 0


def test_an_installed_check_says_what_is_missing(installed: Path, tmp_path: Path) -> None:
    checked = run(installed, "ef-schedd", "check", cwd=tmp_path)
    assert checked.returncode == 1
    assert "Traceback" not in checked.stderr
    assert "ERROR" in checked.stdout


def test_an_installed_ef_sim_simulates(installed: Path, tmp_path: Path) -> None:
    made = run(installed, "ef-sim", "generate", "trace.csv", "--jobs", "5", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    cluster = ("--nodes", "2", "--gpus-per-node", "4")
    simulated = run(installed, "ef-sim", "run", "trace.csv", *cluster, cwd=tmp_path)
    assert simulated.returncode == 0, simulated.stderr
