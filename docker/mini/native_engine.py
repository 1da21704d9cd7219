"""A mini-Slurm as plain processes on this host, from the host's own Debian packages.

Each cluster host is one supervisor process (guest.py) that adopts whatever its daemons and
their jobs leave behind, so that killing a host is killing that process tree. Nodes differ in
port, spool directory and name; users and node names that this host lacks are added for as long
as a cluster is up.
"""

import contextlib
import dataclasses
import os
import platform
import shutil
import socket
import subprocess
import time
from pathlib import Path

from mini import bytecode, host_changes, wheels
from mini.engine import Invocation
from mini.process import install_packages, package_exists, run, say
from mini.processes import environment_of, is_alive, kill_all, kill_tree
from mini.render import Wiring
from mini.settings import CHECKOUT, DOCKER_DIR, SUITES, Cluster, UserError, state_root

PORT_RANGE = range(21000, 29000, 100)
SYSTEM_PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
BOOT_TIMEOUT_SECONDS = 20.0
DAEMONS = {"login": ["munged"], "db": ["mariadbd", "slurmdbd"], "ctl": ["slurmctld"]}
COPIED = ("pyproject.toml", "ef_slurm", "templates", "site-config", "docker", "tests")


class NativeEngine:
    def prepare(self, cluster: Cluster) -> Cluster:
        missing = [name for name in package_list() if not is_installed(name)]
        if missing:
            install_packages(missing, "the native engine", state_root() / "apt.log")
        accounting = all(map(shutil.which, ("slurmdbd", "mariadbd")))
        return dataclasses.replace(cluster, accounting=accounting)

    def wiring(self, cluster: Cluster) -> Wiring:
        base = cluster.directory
        first_port = free_ports(20 + cluster.nodes)
        host = platform.node().partition(".")[0]
        return Wiring(
            ctl_host=f"{host}(127.0.0.1)",
            dbd_host="localhost",
            node_addresses={
                node: f"NodeHostname={host} NodeAddr=127.0.0.1 Port={first_port + 10 + i}"
                for i, node in enumerate(cluster.node_names)
            },
            cgroup_plugin="cgroup/v1" if slurm_version() < 23 else "disabled",
            hosts={name: DAEMONS.get(name, ["slurmd"]) for name in cluster.hosts},
            paths={
                name: str(base / name)
                for name in ("run", "lib", "log", "conf", "secret", "shared", "mariadb", "bin")
            }
            | {
                "checkout": str(reachable_checkout(cluster)),
                "munge_socket": str(base / "munge" / "socket"),
                "site": str(base / "site"),
                "ef_lib": str(base / "ef" / "lib"),
                "ef_run": str(base / "ef" / "run"),
            },
            ports={
                "slurmctld": first_port,
                "slurmdbd": first_port + 1,
                "mariadb": first_port + 2,
                "slurmd": first_port + 9,
            },
            gpu_device=f"{base}/dev/gpu",
        )

    def boot(self, cluster: Cluster) -> None:
        host_changes.apply(cluster)
        compile_checkout(cluster)
        if lacks := lacking():
            found = wheels.fetch(lacks, wheels.system_python())
            # As Debian's packages are; what cannot be compiled are torch's templates.
            run([wheels.SYSTEM_PYTHON, "-m", "compileall", "-qq", str(found)], check=False)
            # Links: torch is large.
            site = cluster.directory / "site"
            shutil.copytree(found, site, copy_function=os.link, dirs_exist_ok=True)
        (cluster.directory / "hosts").mkdir()
        for host in cluster.hosts:
            self.start_host(cluster, host)
            if host == "login":
                wait_for_file(cluster.directory / "munge" / "socket")

    def destroy(self, cluster: Cluster) -> None:
        for host in cluster.hosts:
            if self.is_up(cluster, host):
                self.kill_host(cluster, host)
        # What `exec` started, and whatever else carries this cluster's mark.
        kill_all("MINISLURM_LAYOUT", str(layout_file(cluster)))
        host_changes.revert(cluster)

    def kill_host(self, cluster: Cluster, host: str) -> None:
        kill_tree(pid_of(cluster, host))

    def start_host(self, cluster: Cluster, host: str) -> None:
        with (cluster.directory / "log" / f"{host}.log").open("ab") as log:
            process = subprocess.Popen(
                ["/usr/bin/python3", str(DOCKER_DIR / "mini" / "guest.py"), "boot"],
                env=cluster_environment(cluster, host, "root"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
            )
        (cluster.directory / "hosts" / host).write_text(f"{process.pid}\n")

    def is_up(self, cluster: Cluster, host: str) -> bool:
        with contextlib.suppress(OSError, ValueError):
            pid = pid_of(cluster, host)
            mark = environment_of(pid).get("MINISLURM_LAYOUT")
            return is_alive(pid) and mark == str(layout_file(cluster))
        return False

    def invocation(
        self,
        cluster: Cluster,
        host: str,
        user: str,
        command: list[str],
        *,
        terminal: bool,  # noqa: ARG002
    ) -> Invocation:
        environment = cluster_environment(cluster, host, user)
        return Invocation(
            command,
            environment | {"TERM": os.environ.get("TERM", "dumb")},
            clear_environment=True,
            directory=environment["HOME"],
            user=user,
        )


def package_list() -> list[str]:
    """Debian packages that a native cluster needs of this host."""
    lacks = lacking()
    return [name for name in wheels.lines_of(DOCKER_DIR / "packages.txt") if name not in lacks]


def lacking() -> frozenset[str]:
    """Packages that pip has to fetch for this host."""
    suite = SUITES.get(host_suite())
    if suite is not None:
        return suite.lacks
    return frozenset(name for name in wheels.available() if not package_exists(name))


def is_installed(package: str) -> bool:
    state = run(["dpkg-query", "-W", "-f", "${Status}", package], check=False).stdout
    return state == "install ok installed"


def slurm_version() -> int:
    """The major release of this host's Slurm: 22, 24, ..."""
    said = run(["slurmd", "-V"], env={"PATH": SYSTEM_PATH}).stdout
    return int(said.split()[-1].partition(".")[0])


def host_suite() -> str:
    release = platform.freedesktop_os_release()
    # Sid has the codename of the release to come, and this for its name.
    if release.get("PRETTY_NAME", "").endswith("/sid"):
        return "sid"
    return release.get("VERSION_CODENAME") or release.get("ID", "this host")


def layout_file(cluster: Cluster) -> Path:
    return cluster.directory / "guest" / "layout.json"


def pid_of(cluster: Cluster, host: str) -> int:
    return int((cluster.directory / "hosts" / host).read_text())


def cluster_environment(cluster: Cluster, host: str, user: str) -> dict[str, str]:
    base = cluster.directory
    home = "/root" if user == "root" else str(base / "shared" / "home" / user)
    checkout = checkout_of(cluster)
    return {
        "PATH": f"{base / 'bin'}:{SYSTEM_PATH}",
        "HOME": home,
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "SLURM_CONF": str(base / "conf" / "slurm.conf"),
        "PYTHONPATH": f"{checkout}:{base / 'site'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MINISLURM_NAME": cluster.name,
        "MINISLURM_HOST": host,
        "MINISLURM_LAYOUT": str(layout_file(cluster)),
    }


def checkout_of(cluster: Cluster) -> Path:
    """Where the cluster's hosts see the checkout."""
    copy = cluster.directory / "checkout"
    return copy if copy.exists() else CHECKOUT


def compile_checkout(cluster: Cluster) -> None:
    checkout = checkout_of(cluster)

    def run_python(arguments: list[str]) -> None:
        run([wheels.SYSTEM_PYTHON, *arguments], cwd=checkout, check=False)

    bytecode.ensure(checkout, wheels.system_python(), run_python)


def reachable_checkout(cluster: Cluster) -> Path:
    """The checkout, or a copy of it where the cluster's users cannot read it."""
    closed = [p for p in (CHECKOUT, *CHECKOUT.parents) if not p.stat().st_mode & 0o001]
    if not closed:
        return CHECKOUT
    say(f"{closed[-1]} is closed to other users: the cluster works on a copy of the checkout")
    copy = cluster.directory / "checkout"
    copy.mkdir()
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, copy / name)
    run(["chmod", "-R", "a+rX", str(copy)])
    return copy


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that nobody listens on."""
    for first in PORT_RANGE:
        if all(port_is_free(port) for port in range(first, first + count)):
            return first
    raise UserError(f"no {count} free ports in a row from {PORT_RANGE.start} to {PORT_RANGE.stop}")


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_for_file(path: Path) -> None:
    deadline = time.monotonic() + BOOT_TIMEOUT_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise UserError(f"munged did not start: {path} is missing")
        time.sleep(0.05)
