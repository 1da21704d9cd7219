"""Running other programs, installing Debian packages, telling the user what goes on."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mini.settings import UserError

POLICY_RC_D = Path("/usr/sbin/policy-rc.d")

SUMMARY = "Encountered errors while bringing up the project."
"""What docker-compose 1 says after the reason."""


def say(message: str) -> None:
    """A line of progress, on stderr so that a command's own output stays clean."""
    print(f"minislurm: {message}", file=sys.stderr, flush=True)


def is_root() -> bool:
    return os.geteuid() == 0


def last_words(text: str) -> str:
    """The line of a command's output that says why it failed: the last, as a rule."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reasons = [line for line in lines if not line.endswith(SUMMARY)]
    return (reasons or lines or ["no message"])[-1]


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    check: bool = True,
    stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it prints; `env` is added to our own environment.

    Raises:
        UserError: it failed (with `check`), is missing, or ran longer than `timeout` seconds.
    """
    try:
        result = subprocess.run(
            command,
            env=os.environ | env if env else None,
            cwd=cwd,
            timeout=timeout,
            capture_output=True,
            text=True,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            check=False,
        )
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"`{' '.join(command)}` took longer than {timeout:g} s") from None
    if check and result.returncode:
        said = last_words(result.stderr or result.stdout)
        raise UserError(f"`{' '.join(command)}` failed: {said}")
    return result


def run_logged(command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None) -> None:
    """Run a long command with its output in a file, which a failure points at.

    Raises:
        UserError: it failed; the message has its last line and names the file.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        code = subprocess.run(
            command,
            env=os.environ | env if env else None,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        ).returncode
    if code:
        said = last_words(log.read_text(errors="replace"))
        raise UserError(f"{command[0]} failed: {said} (all of its output: {log})")


@contextlib.contextmanager
def no_service_starts() -> Iterator[None]:
    """Debian starts the services of a package when it is installed; here it must not."""
    if POLICY_RC_D.exists():
        yield
        return
    POLICY_RC_D.write_text("#!/bin/sh\nexit 101\n")
    POLICY_RC_D.chmod(0o755)
    try:
        yield
    finally:
        POLICY_RC_D.unlink()


def install_packages(packages: Sequence[str], reason: str, log: Path) -> None:
    """Install Debian packages (those of the names that this release has).

    Raises:
        UserError: not root, no apt-get, or apt-get failed.
    """
    wanted = " ".join(packages)
    if not shutil.which("apt-get"):
        raise UserError(f"{reason} needs {wanted}, and there is no apt-get: install them by hand")
    if not is_root():
        raise UserError(f"{reason} needs root once: sudo apt-get install {wanted}")
    say(f"installing for {reason}: {wanted}")
    run_logged(["apt-get", "update"], log)
    known = [name for name in packages if package_exists(name)]
    with no_service_starts():
        run_logged(
            ["apt-get", "install", "-y", "--no-install-recommends", *known],
            log,
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )


def package_exists(name: str) -> bool:
    policy = run(["apt-cache", "policy", name], check=False).stdout
    return "Candidate:" in policy and "Candidate: (none)" not in policy
