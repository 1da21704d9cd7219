"""Python packages that a host's Debian release lacks, from PyPI and beside its own ones."""

import hashlib
import platform
import shutil
import sys
from collections.abc import Collection
from pathlib import Path

from mini.process import install_packages, run, run_logged, say
from mini.settings import DOCKER_DIR, lock, state_root

WHEELS = DOCKER_DIR / "wheels.txt"
SYSTEM_PYTHON = "/usr/bin/python3"


def available() -> dict[str, str]:
    """What pip fetches, by the name of the Debian package that it stands for."""
    lines = WHEELS.read_text().splitlines()
    pairs = (line.split() for line in lines if line and not line.startswith("#"))
    return dict(pairs)


def fetch(packages: Collection[str], python: str) -> Path:
    """A directory of them for one release of Python ("3.11"), fetched where it is missing.

    Raises:
        UserError: PyPI cannot be reached, or has none for this kind of processor.
    """
    wanted = sorted(available()[name] for name in packages)
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
            command = [*pip(), "install", "--disable-pip-version-check", *options, *wanted]
            run_logged(command, state_root() / "wheels.log")
            run(["chmod", "-R", "a+rX", str(new)])
            new.rename(directory)
    return directory


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
