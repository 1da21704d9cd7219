"""Python packages that a host's Debian release lacks, from PyPI and beside its own ones.

Also torch, where Debian's is too old to train on several ranks.
"""

import hashlib
import platform
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

from mini.process import install_packages, run, run_logged, say
from mini.settings import DOCKER_DIR, TORCH, UserError, lock, state_root

WHEELS = DOCKER_DIR / "wheels.txt"
NEWER_TORCH = DOCKER_DIR / "torch.txt"
# Where PyTorch keeps builds without CUDA, which are a tenth of the size.
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SYSTEM_PYTHON = "/usr/bin/python3"


def available() -> dict[str, tuple[str, ...]]:
    """What pip fetches, by the name of the Debian package that it stands for."""
    pairs = (line.split() for line in lines_of(WHEELS))
    return {name: (wanted,) for name, wanted in pairs} | {TORCH: tuple(lines_of(NEWER_TORCH))}


def lines_of(path: Path) -> list[str]:
    """Without comments and empty ones."""
    lines = path.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def fetch(packages: Collection[str], python: str) -> Path:
    """A directory of them for one release of Python ("3.11"), fetched where it is missing.

    Raises:
        UserError: PyPI cannot be reached, or has none for this kind of processor.
    """
    wanted = sorted(word for name in packages for word in available()[name])
    digest = hashlib.sha256(" ".join(wanted).encode()).hexdigest()
    directory = state_root() / f"python-{python}-{digest[:8]}"
    with lock("wheels"):
        if wanted and not directory.exists():
            say(f"this Debian has no {', '.join(sorted(packages))}: fetching {', '.join(wanted)}")
            new = directory.with_suffix(".new")
            shutil.rmtree(new, ignore_errors=True)
            options = ["--only-binary=:all:", "--no-deps", "--implementation", "cp"]
            # For the host's processor and glibc (Debian 12 has 2.36), whoever runs pip.
            for glibc in ("manylinux2014", "manylinux_2_28"):
                options += ["--platform", f"{glibc}_{platform.machine()}"]
            options += ["--python-version", python, "--target", str(new)]
            install([*pip(), "install", "--disable-pip-version-check", *options, *wanted])
            run(["chmod", "-R", "a+rX", str(new)])
            new.rename(directory)
    return directory


def install(command: list[str]) -> None:
    """From wherever pip is set up to look; torch's CPU builds are not on PyPI itself."""
    log = state_root() / "wheels.log"
    try:
        run_logged(command, log)
    except UserError:
        run_logged([*command, "--extra-index-url", TORCH_CPU_INDEX], log)


def pip() -> list[str]:
    """A pip of this machine's, installed where it has none."""
    for python in (sys.executable, SYSTEM_PYTHON):
        if run([python, "-m", "pip", "--version"], check=False).returncode == 0:
            return [python, "-m", "pip"]
    install_packages(["python3-pip"], "fetching from PyPI", state_root() / "apt.log")
    return [SYSTEM_PYTHON, "-m", "pip"]


def system_python() -> str:
    """The release of the Python that this machine's own packages are for."""
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    return run([SYSTEM_PYTHON, "-c", show]).stdout.strip()
