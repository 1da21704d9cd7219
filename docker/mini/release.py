"""`minislurm packages`: sdist, wheel and Debian packages, made on the release that they are for."""

import tempfile
import time
from pathlib import Path

from mini.image import Recipe
from mini.process import run, say
from mini.sandbox import Sandbox, sandbox
from mini.settings import CHECKOUT, DOCKER_DIR, UserError

SUITE = "trixie"
"""The first release with everything that ef-slurm needs."""

BUILDER = Recipe("minislurm-build", DOCKER_DIR / "release" / "packages.txt")
LINT = "lintian --fail-on error --suppress-tags initial-upload-closes-no-bugs"
"""It is in no archive of Debian, so no bug asked for it."""


def packages(output: Path, *, lint: bool, source: Path = CHECKOUT) -> list[Path]:
    """Build them.

    Args:
        output: directory that they are put into.
        lint: look at them with lintian, too.
        source: the checkout that they are made of.

    Returns:
        What was built.

    Raises:
        UserError: it failed; the message has what was said last.
    """
    began = time.monotonic()
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written: {error.strerror}") from None
    with sandbox(SUITE, BUILDER, mounts={source: "/checkout"}) as box:
        script = "/checkout/docker/release/build"
        moment = {"SOURCE_DATE_EPOCH": _last_change(source)}
        _must(box, "sh", script, "/checkout", "/output", env=moment)
        if lint:
            _must(box, "sh", "-c", "apt-get update && apt-get install -y lintian", env=_QUIET)
            say(_must(box, "sh", "-c", f"{LINT} /output/*.changes").strip())
        names = _must(box, "ls", "/output").split()
        box.copy_out("/output/.", output)
    say(f"{output}: {', '.join(names)} (after {time.monotonic() - began:.0f} s)")
    return [output / name for name in names]


_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}


def _must(box: Sandbox, *command: str, env: dict[str, str] | None = None) -> str:
    done = box.exec(*command, env=env)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise UserError(f"`{' '.join(command)}` failed:\n{said}")
    return done.stdout


def _last_change(source: Path) -> str:
    """Seconds of the last commit, so that the same commit gives the same files."""
    asked = run(["git", "-C", str(source), "log", "-1", "--format=%ct"], check=False)
    return asked.stdout.strip() or str(int((source / "CHANGELOG.md").stat().st_mtime))
