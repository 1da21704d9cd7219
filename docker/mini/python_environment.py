"""The virtual environment of `minislurm test`, with the pinned versions of everything."""

import hashlib
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from mini.process import install_packages, run, run_logged, say
from mini.settings import CHECKOUT, UserError, check_space, lock, state_root
from mini.wheels import TORCH_CPU_INDEX

CONSTRAINTS = CHECKOUT / "tests" / "constraints.txt"
VENV_SPACE_GIB = 3


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
