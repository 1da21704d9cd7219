"""`minislurm test`: environment, linters, unit tests, a cluster, cluster tests."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from mini import lifecycle
from mini.process import install_packages, run, run_logged, say
from mini.settings import CHECKOUT, Cluster, UserError, check_space, lock, state_root

CONSTRAINTS = CHECKOUT / "tests" / "constraints.txt"
# Where PyTorch keeps builds without CUDA, which are a tenth of the size.
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
NO_TESTS = 5
VENV_SPACE_GIB = 3
# On a busy machine processes can be too slow for a test; a fault shows twice.
TRIES = ["--reruns=1", "--durations=15"]


def test(wanted: Cluster, pytest_arguments: list[str], *, fast: bool) -> int:
    """Run the checks; the exit code is that of the first part that failed.

    Args:
        wanted: the cluster to bring up for the tests marked `cluster`.
        pytest_arguments: passed on to pytest; with any, the linters are left out.
        fast: leave out what needs a cluster.
    """
    started = time.monotonic()
    python = ensure_environment()
    for linter in linters(python) if not pytest_arguments else []:
        code = show(linter)
        if code:
            return code
    options = [*TRIES, *pytest_arguments]
    unit = pytest(python, "not cluster", options)
    if unit not in (0, NO_TESTS) or fast:
        return unit
    cluster_tests = [*pytest_arguments, "--collect-only", "--quiet"]
    if run(pytest_command(python, "cluster", cluster_tests), check=False).returncode == NO_TESTS:
        return unit
    cluster = lifecycle.up(wanted)
    try:
        code = pytest(python, "cluster", options, {"MINISLURM_NAME": cluster.name})
    finally:
        ended = time.monotonic()
        lifecycle.down(cluster)
        say(f"{cluster.name} is down after {time.monotonic() - ended:.1f} s")
    say(f"tests took {time.monotonic() - started:.0f} s in all")
    return code


def linters(python: Path) -> list[list[str]]:
    tool = [str(python), "-m"]
    return [
        [*tool, "ruff", "check"],
        [*tool, "ruff", "format", "--check"],
        [*tool, "mypy"],
        # These scripts import one another as `mini`, not by the path from the top.
        ["env", "MYPYPATH=docker", *tool, "mypy", "docker/minislurm", "docker/mini", "docker/demo"],
    ]


def pytest_command(python: Path, marker: str, arguments: list[str]) -> list[str]:
    return [str(python), "-m", "pytest", "-m", marker, *arguments]


def pytest(
    python: Path, marker: str, arguments: list[str], env: dict[str, str] | None = None
) -> int:
    return show(pytest_command(python, marker, arguments), env)


def show(command: list[str], env: dict[str, str] | None = None) -> int:
    """Run a command in the checkout, in full view."""
    print(f"$ {' '.join(command)}", flush=True)
    # First on the path: the environment may hold an editable install of another checkout.
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)} | (env or {})
    return subprocess.run(command, cwd=CHECKOUT, env=environment, check=False).returncode


# --- the environment ------------------------------------------------------------------


@dataclass(frozen=True)
class Environment:
    directory: Path

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"

    @property
    def stamp(self) -> Path:
        """Holds the hash of what was installed, and for which checkout."""
        return self.directory / "installed"

    def pip(self, *arguments: str) -> None:
        log = state_root() / "pip.log"
        options = ["--disable-pip-version-check", "install", "--constraint", str(CONSTRAINTS)]
        run_logged([str(self.python), "-m", "pip", *options, *arguments], log)


def ensure_environment() -> Path:
    """The python of a virtual environment with the pinned versions of everything."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    environment = Environment(state_root() / f"venv-{version}")
    pinned = CONSTRAINTS.read_bytes() + (CHECKOUT / "pyproject.toml").read_bytes()
    wanted = [hashlib.sha256(pinned).hexdigest(), str(CHECKOUT)]
    with lock("venv"):
        installed = environment.stamp.read_text().split("\n") if environment.stamp.exists() else []
        if installed[:1] != wanted[:1]:
            say(f"installing the pinned versions of everything into {environment.directory}")
            create(environment)
            install_torch(environment)
            environment.pip("--editable", f"{CHECKOUT}[dev,training]")
        elif installed != wanted:
            # Commands and metadata are to be those of this checkout.
            environment.pip("--no-deps", "--editable", str(CHECKOUT))
        environment.stamp.write_text("\n".join(wanted))
    return environment.python


def create(environment: Environment) -> None:
    if environment.python.exists():
        environment.stamp.unlink(missing_ok=True)
        return
    check_space(state_root(), VENV_SPACE_GIB, "the virtual environment")
    command = [sys.executable, "-m", "venv", str(environment.directory)]
    if run(command, check=False).returncode:
        shutil.rmtree(environment.directory, ignore_errors=True)
        install_packages(["python3-venv"], "a virtual environment", state_root() / "apt.log")
        run(command)


def install_torch(environment: Environment) -> None:
    """The CPU build, from wherever pip is set up to look, or from PyTorch's own index."""
    pinned = re.search(r"^torch==([\d.]+)$", CONSTRAINTS.read_text(), re.MULTILINE)
    if not pinned:
        raise UserError(f"{CONSTRAINTS}: no line torch==VERSION")
    version = pinned.group(1)
    for arguments in (
        [f"torch=={version}+cpu"],
        [f"torch=={version}+cpu", "--index-url", TORCH_CPU_INDEX],
    ):
        try:
            environment.pip(*arguments)
        except UserError:
            continue
        return
    say(f"no CPU build of torch {version} can be reached: taking the large one with CUDA")
