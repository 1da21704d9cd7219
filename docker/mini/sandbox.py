"""A container of plain Debian that is thrown away: packages are built and tried in one."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mini import dockerd, image
from mini.dockerd import Docker
from mini.process import run
from mini.settings import lock

LIFETIME_SECONDS = 3600
"""After which the container of a program that was killed is gone."""


@dataclass(frozen=True)
class Sandbox:
    """A container that runs. Its network is this host's, since our own engine has no way out."""

    docker: Docker
    name: str

    def exec(
        self, *command: str, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root, whatever its exit code."""
        options = [word for pair in (env or {}).items() for word in ("--env", "=".join(pair))]
        words = ["docker", "exec", *options, self.name, *command]
        return run(words, env=self.docker.environment, check=False)

    def copy_in(self, path: Path | str, target: str) -> None:
        """As `docker cp`: a directory that ends in "/." gives what is in it."""
        self.docker.run("cp", str(path), f"{self.name}:{target}")

    def copy_out(self, path: str, target: Path) -> None:
        """The other way round."""
        self.docker.run("cp", f"{self.name}:{path}", str(target))


@contextmanager
def sandbox(
    suite: str, recipe: image.Recipe | None = None, *, mounts: dict[Path, str] | None = None
) -> Iterator[Sandbox]:
    """A container of a Debian release with `apt-get` ready; ended at the end.

    Args:
        suite: the release.
        recipe: what is installed in it; None for nothing beside its base.
        mounts: directories of this machine, read-only, and where they are in it.

    Raises:
        UserError: no Docker engine, or no image of that release.
    """
    with lock("engine"):
        docker = dockerd.obtain()
        # It keeps the engine up, whoever ends a mini-Slurm meanwhile.
        base = _start(docker, image.ensure_base(docker, suite), {})
    started = [base]
    try:
        if recipe is not None:
            started.append(_start(docker, image.ensure(docker, suite, recipe), mounts or {}))
        box = Sandbox(docker, started[-1])
        with tempfile.TemporaryDirectory(prefix="mirror-") as directory:
            image.write_mirror(Path(directory), suite)
            box.copy_in(f"{directory}/.", "/")
            # No fsync for each file of what is thrown away.
            fast = Path(directory) / "fast"
            fast.write_text("force-unsafe-io\n")
            box.copy_in(fast, "/etc/dpkg/dpkg.cfg.d/minislurm")
        box.exec("chmod", "1777", "/tmp")  # noqa: S108 - the copy has changed it
        yield box
    finally:
        docker.run("rm", "--force", *started, check=False)
        dockerd.stop_if_unused(docker)


def _start(docker: Docker, name: str, mounts: dict[Path, str]) -> str:
    volumes = [word for path, at in mounts.items() for word in ("--volume", f"{path}:{at}:ro")]
    options = ["--detach", "--rm", "--network", "host", *volumes]
    return docker.run("run", *options, name, "sleep", str(LIFETIME_SECONDS)).strip()
