"""up, down, status: what is the same for both engines."""

import contextlib
import dataclasses
import json
import os
import pwd
import shutil
import subprocess
import sys
import time

from mini import dockerd, variants
from mini.docker_engine import DockerEngine
from mini.dockerd import NoEngineError
from mini.engine import Engine, Invocation
from mini.native_engine import NativeEngine, host_suite
from mini.process import is_root, say
from mini.render import write_files
from mini.settings import (
    DEFAULT_SUITE,
    USERS,
    Cluster,
    UserError,
    check_name,
    check_space,
    clusters_dir,
    lock,
    register,
    registered,
    save,
)

READY_TIMEOUT_SECONDS = 300.0
CLUSTER_SPACE_GIB = 1.0
GUEST = "docker/mini/guest.py"


def engine_of(cluster: Cluster) -> Engine:
    if cluster.engine == "native":
        return NativeEngine()
    return DockerEngine(dockerd.Docker(cluster.docker_host))


# --- up -------------------------------------------------------------------------------


def up(wanted: Cluster) -> Cluster:
    """Start a cluster and wait until it can be used; on failure nothing is left of it.

    Args:
        wanted: its settings; the engine may be "auto".

    Raises:
        UserError: it cannot start; the message says why.
    """
    started = time.monotonic()
    check_name(wanted.name)
    check_space(clusters_dir(), CLUSTER_SPACE_GIB, "a mini-Slurm")
    with lock("engine"):
        if wanted.name in {cluster.name for cluster in registered()}:
            register(wanted)  # says what to do
        cluster, engine = choose_engine(wanted)
        register(cluster)
    try:
        cluster = engine.prepare(cluster)
        check_accounting(cluster)
        save(cluster)
        describe(cluster)
        write_files(cluster, engine.wiring(cluster))
        engine.boot(cluster)
        wait_until_ready(cluster, engine)
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt):
            show_logs(cluster)
        say("taking down what had started")
        down(cluster)
        raise
    say(f"{cluster.name} is up after {time.monotonic() - started:.1f} s")
    return cluster


def choose_engine(wanted: Cluster) -> tuple[Cluster, Engine]:
    """The engine to use, and the cluster with its engine and suite filled in."""
    if wanted.engine != "native":
        try:
            docker = dockerd.obtain()
        except NoEngineError as error:
            if wanted.engine == "docker" or not is_root():
                raise
            say(f"{error}: using --engine native instead")
        else:
            cluster = dataclasses.replace(
                wanted,
                engine="docker",
                suite=wanted.suite or DEFAULT_SUITE,
                docker_host=docker.host,
            )
            return cluster, DockerEngine(docker)
    if not is_root():
        raise UserError("--engine native needs root, or a Docker engine that runs: use sudo")
    host = host_suite()
    if variants.has_small_disks(wanted):
        raise UserError("--variant small-disks needs the docker engine")
    if wanted.suite not in ("", host):
        raise UserError(
            f"--suite {wanted.suite} needs the docker engine: --engine native runs the Slurm of "
            f"this host ({host})"
        )
    return dataclasses.replace(wanted, engine="native", suite=host), NativeEngine()


def check_accounting(cluster: Cluster) -> None:
    """Raises UserError where a variant is nothing without accounting, and there is none."""
    lacking = [name for name in cluster.variants if variants.VARIANTS[name].needs_accounting]
    if lacking and not cluster.accounting:
        raise UserError(f"--variant {lacking[0]} needs accounting, which {cluster.suite} lacks")


def describe(cluster: Cluster) -> None:
    say(f"starting {cluster.name}: {shape_of(cluster)}, {cluster.suite}, {cluster.engine} engine")
    if not cluster.accounting:
        say(
            "without accounting, so no sacct, accounts, limits or operators: "
            "slurmdbd or MariaDB is missing"
        )


def shape_of(cluster: Cluster) -> str:
    if cluster.variants:
        return f"{cluster.nodes} nodes, variant {','.join(cluster.variants)}"
    return f"{cluster.nodes} nodes with {cluster.gpus_per_node} GPUs each"


def wait_until_ready(cluster: Cluster, engine: Engine) -> None:
    """Every daemon runs, the accounts are made, every node is idle, sacct answers."""
    deadline = time.monotonic() + READY_TIMEOUT_SECONDS
    first = "slurmdbd and slurmctld" if cluster.accounting else "slurmctld"
    wait_for(cluster, engine, first, "scontrol ping | grep -q 'is UP'", deadline)
    if cluster.accounting:
        commands = " && ".join([account_commands(), *variants.account_commands(cluster)])
        wait_for(cluster, engine, "accounts", commands, deadline)
    idle = f"test $(sinfo -h -N -p batch -t idle -o %N | sort -u | wc -l) -eq {cluster.nodes}"
    wait_for(cluster, engine, f"{cluster.nodes} idle nodes", idle, deadline)
    if cluster.accounting:
        wait_for(cluster, engine, "sacct", "sacct -n -X", deadline)


def account_commands() -> str:
    """Each user has their own account; ef-slurm's user is a Slurm operator."""
    add = "sacctmgr -i -Q add"
    lines = ["sacctmgr -n show cluster | grep -q ."]
    for user in USERS:
        account = account_of(user)
        lines.append(
            f"{add} account {account} Description={account} Organization=minislurm >/dev/null"
        )
        level = " AdminLevel=Operator" if user == "ef-slurm" else ""
        lines.append(f"{add} user {user} account={account}{level} >/dev/null")
    return " && ".join([lines[0], "{ " + "; ".join(lines[1:]) + "; }"])


def account_of(user: str) -> str:
    return {"user1": "acct1", "user2": "acct2", "ef-slurm": "ef"}[user]


def wait_for(cluster: Cluster, engine: Engine, what: str, test: str, deadline: float) -> None:
    while True:
        invocation = engine.invocation(
            cluster, "ctl", "root", ["timeout", "20", "sh", "-c", test], terminal=False
        )
        result = execute(invocation, capture=True)
        if result.returncode == 0:
            say(f"  {what}: ready")
            return
        dead = dead_daemons(cluster, engine)
        if dead:
            raise UserError(f"waiting for {what}: {dead}")
        if time.monotonic() > deadline:
            raise UserError(
                f"waited {READY_TIMEOUT_SECONDS:g} s in vain for {what}: {result.stderr}"
            )
        time.sleep(0.2)


def dead_daemons(cluster: Cluster, engine: Engine) -> str:
    for host in cluster.hosts:
        if not engine.is_up(cluster, host):
            return f"host {host} has stopped"
        for daemon, state in daemon_states(cluster, engine, host).items():
            if state.startswith("ended"):
                return f"{daemon} on {host} {state}"
    return ""


def show_logs(cluster: Cluster, lines: int = 8) -> None:
    """The last lines of every log, on stderr."""
    for path in sorted((cluster.directory / "log").glob("*.log")):
        tail = path.read_text(errors="replace").splitlines()[-lines:]
        print(f"--- {path.name}", *tail, sep="\n", file=sys.stderr)


# --- down -----------------------------------------------------------------------------


def down(cluster: Cluster) -> None:
    """Leave nothing behind: hosts, networks, volumes, processes, files, our own engine."""
    engine = engine_of(cluster)
    if isinstance(engine, DockerEngine) and not dockerd.answers(engine.docker):
        # The machine was restarted, say: our own engine knows what it had.
        with lock("engine"):
            engine = DockerEngine(dockerd.obtain())
    engine.destroy(cluster)
    # Another `down` may be removing it too.
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(cluster.directory)
    if isinstance(engine, DockerEngine):
        dockerd.stop_if_unused(engine.docker)


# --- using it -------------------------------------------------------------------------


def invocation_on(
    cluster: Cluster, host: str, user: str, command: list[str], *, terminal: bool
) -> Invocation:
    """How to run a command on a host of a cluster that is up, checked."""
    if host not in cluster.hosts:
        raise UserError(f"no host {host!r}: {cluster.name} has {', '.join(cluster.hosts)}")
    if user not in ("root", *USERS):
        raise UserError(f"no user {user!r}: there are root, {', '.join(USERS)}")
    return engine_of(cluster).invocation(cluster, host, user, command, terminal=terminal)


def check_up(cluster: Cluster, host: str) -> None:
    """Say so if a command failed because its host is down."""
    if not engine_of(cluster).is_up(cluster, host):
        raise UserError(
            f"{host} of {cluster.name} is down: docker/minislurm start --name {cluster.name} {host}"
        )


def execute(
    invocation: Invocation,
    *,
    capture: bool = False,
    stdin: str | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run it: on our own terminal, or with its output kept and `stdin` as its input.

    Raises:
        subprocess.TimeoutExpired: it took longer than `timeout` seconds.
    """
    base = {} if invocation.clear_environment else dict(os.environ)
    account = pwd.getpwnam(invocation.user) if invocation.user else None
    return subprocess.run(
        invocation.command,
        env=base | dict(invocation.environment),
        cwd=invocation.directory,
        user=account.pw_uid if account else None,
        group=account.pw_gid if account else None,
        extra_groups=os.getgrouplist(account.pw_name, account.pw_gid) if account else None,
        capture_output=capture,
        input=(stdin or "") if capture else None,
        text=True,
        timeout=timeout,
        check=False,
    )


def begin(invocation: Invocation) -> subprocess.Popen[str]:
    """Start it, with pipes to its input and from its output."""
    base = {} if invocation.clear_environment else dict(os.environ)
    return subprocess.Popen(
        invocation.command,
        env=base | dict(invocation.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def layout_paths(cluster: Cluster) -> dict[str, str]:
    """Where things are on the hosts; empty while the cluster is only just starting."""
    path = cluster.directory / "guest" / "layout.json"
    if not path.exists():
        return {}
    paths: dict[str, str] = json.loads(path.read_text())["paths"]
    return paths


def guest(
    cluster: Cluster, engine: Engine, host: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    script = f"{layout_paths(cluster)['checkout']}/{GUEST}"
    command = ["/usr/bin/python3", script, *arguments]
    return execute(engine.invocation(cluster, host, "root", command, terminal=False), capture=True)


def daemon_states(cluster: Cluster, engine: Engine, host: str) -> dict[str, str]:
    result = guest(cluster, engine, host, "status")
    if result.returncode:
        return {}
    states: dict[str, str] = json.loads(result.stdout)
    return states


def switch(cluster: Cluster, host: str, daemon: str | None, *, on: bool) -> str:
    """Start or kill a host, or one daemon on it; says what happened."""
    if host not in cluster.hosts:
        raise UserError(f"no host {host!r}: {cluster.name} has {', '.join(cluster.hosts)}")
    engine = engine_of(cluster)
    running = engine.is_up(cluster, host)
    if daemon is None:
        if running == on:
            return f"{host} is {'up' if on else 'down'} already"
        (engine.start_host if on else engine.kill_host)(cluster, host)
        return f"{host} {'started' if on else 'killed'}"
    if not running:
        raise UserError(f"{host} is down: start the host first")
    result = guest(cluster, engine, host, "start" if on else "kill", daemon)
    if result.returncode:
        raise UserError(result.stderr.strip().removeprefix("error: "))
    return result.stdout.strip()


@dataclasses.dataclass(frozen=True)
class Status:
    """A cluster, where its hosts see the shared directory and the checkout, and how each host is.

    Attributes:
        hosts: state of each daemon of each host; None for a host that is down.
    """

    cluster: Cluster
    shared: str
    checkout: str
    hosts: dict[str, dict[str, str] | None]

    def __str__(self) -> str:
        cluster = self.cluster
        accounting = "" if cluster.accounting else ", no accounting"
        lines = [
            f"{cluster.name}: {shape_of(cluster)}, "
            f"{cluster.suite}, {cluster.engine} engine{accounting}"
        ]
        for host, daemons in self.hosts.items():
            if daemons is None:
                text = "down"
            else:
                text = ", ".join(f"{name} {state}" for name, state in daemons.items())
            lines.append(f"  {host}: {text}")
        return "\n".join(lines)


def status(cluster: Cluster) -> Status:
    engine = engine_of(cluster)
    paths = layout_paths(cluster)
    return Status(
        cluster,
        paths.get("shared", ""),
        paths.get("checkout", ""),
        {
            host: daemon_states(cluster, engine, host) if engine.is_up(cluster, host) else None
            for host in cluster.hosts
        },
    )
