"""Finding a Docker engine, or starting one of our own.

Our own engine has its own socket, data directory, process ids and networks, and leaves the
host's firewall alone: containers reach one another, and nothing outside.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from mini.process import install_packages, is_root, run, say
from mini.settings import UserError, lock, registered, state_root

START_TIMEOUT_SECONDS = 60.0


class NoEngineError(UserError):
    """No Docker engine answers and none can be started."""


@dataclass(frozen=True)
class Docker:
    """A Docker engine that answers.

    Attributes:
        host: its address; empty for the one that the docker client finds by itself.
    """

    host: str

    @property
    def environment(self) -> dict[str, str]:
        """What the docker client needs to reach it."""
        return {"DOCKER_HOST": self.host} if self.host else {}

    @property
    def private(self) -> bool:
        """Whether it is the one that we start ourselves."""
        return self == private_docker()

    def run(self, *arguments: str, check: bool = True, timeout: float | None = None) -> str:
        command = ["docker", *arguments]
        return run(command, env=self.environment, check=check, timeout=timeout).stdout

    def succeeds(self, *arguments: str) -> bool:
        result = run(["docker", *arguments], env=self.environment, check=False)
        return result.returncode == 0

    def compose(self, files: list[Path], project: str, env: dict[str, str], *args: str) -> None:
        options = [word for file in files for word in ("--file", str(file))]
        run(
            [*compose_command(self), "--project-name", project, *options, *args],
            env=self.environment | env,
        )


def compose_command(docker: Docker) -> list[str]:
    if docker.succeeds("compose", "version"):
        return ["docker", "compose"]
    if not shutil.which("docker-compose"):
        install_packages(
            ["docker-compose"], "the docker engine (compose)", state_root() / "apt.log"
        )
    return ["docker-compose"]


def engine_dir() -> Path:
    return state_root() / "engine"


def run_dir() -> Path:
    """Socket and process ids; short, because socket paths are limited to 107 characters."""
    digest = hashlib.sha256(str(state_root()).encode()).hexdigest()
    return Path("/run/minislurm") / digest[:8]


def private_docker() -> Docker:
    return Docker(f"unix://{run_dir() / 'docker.sock'}")


def answers(docker: Docker) -> bool:
    if not shutil.which("docker"):
        return False
    try:
        return docker.run("version", "--format", "{{.Server.Version}}", timeout=20) != ""
    except UserError:
        return False


def connect() -> Docker:
    """An engine that runs already: the caller's, or our own.

    Raises:
        NoEngineError: there is none.
    """
    for docker in (Docker(""), private_docker()):
        if answers(docker):
            return docker
    raise NoEngineError("no Docker engine answers")


def obtain() -> Docker:
    """An engine that runs already, or our own, started now.

    The caller holds the lock "engine" until its cluster is registered, so that nobody's `down`
    stops the engine in between.

    Raises:
        NoEngineError: there is none and none can be started.
    """
    try:
        return connect()
    except NoEngineError:
        if not is_root():
            raise NoEngineError(
                "no Docker engine answers, and starting one (or --engine native) needs root: "
                "start Docker, or run this with sudo"
            ) from None
    if not (shutil.which("docker") and shutil.which("dockerd")):
        try:
            install_packages(
                ["docker.io", "docker-cli", "docker-compose", "iptables"],
                "the docker engine",
                state_root() / "apt.log",
            )
        except UserError as error:
            raise NoEngineError(str(error)) from None
    docker = private_docker()
    start(docker)
    return docker


def start(docker: Docker) -> None:
    run_dir().mkdir(parents=True, exist_ok=True)
    engine_dir().mkdir(parents=True, exist_ok=True)
    log = engine_dir() / "dockerd.log"
    say("no Docker engine answers: starting one of our own, for mini-Slurms alone")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                "dockerd",
                f"--host={docker.host}",
                f"--data-root={engine_dir() / 'data'}",
                f"--exec-root={run_dir() / 'exec'}",
                f"--pidfile={run_dir() / 'docker.pid'}",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
                "--ip-forward=false",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while not answers(docker):
        if process.poll() is not None or time.monotonic() > deadline:
            process.terminate()
            process.wait()
            said = [line for line in log.read_text(errors="replace").splitlines() if line]
            clean_run_dir()
            raise NoEngineError(f"dockerd cannot start here: {said[-1] if said else 'no message'}")
        time.sleep(0.2)


def stop_if_unused(docker: Docker) -> None:
    """End our own engine when no mini-Slurm is left in it; its images stay on disk."""
    if not docker.private:
        return
    with lock("engine"):
        if not answers(docker) or in_use(docker):
            return
        pid_file = run_dir() / "docker.pid"
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            reap(pid)
            time.sleep(0.05)
        clean_run_dir()


def clean_run_dir() -> None:
    """dockerd leaves mounts behind: the network namespaces of its networks."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        mounted = line.split()[1]
        if Path(mounted).is_relative_to(run_dir()):
            run(["umount", mounted], check=False)
    shutil.rmtree(run_dir(), ignore_errors=True)
    with contextlib.suppress(OSError):
        run_dir().parent.rmdir()


def reap(pid: int) -> None:
    """Collect the engine if this very process started it."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def in_use(docker: Docker) -> bool:
    """Whether a cluster is in it, or another minislurm process is about to make one."""
    if docker.run("ps", "--all", "--quiet").strip():
        return True
    return any(cluster.engine == "docker" for cluster in registered())
