"""Runs on every host of a mini-Slurm, and looks after its daemons.

In a container as its first process, natively as one supervisor process for each host.

    guest.py boot             prepare this host, start its daemons, stay and look after them
    guest.py status           each daemon of this host and how it is
    guest.py start DAEMON     start a daemon that is not running
    guest.py kill DAEMON      SIGKILL a daemon (what it started lives on)

The environment names the host (`MINISLURM_HOST`) and the cluster's layout, a JSON file that
`docker/minislurm` wrote (`MINISLURM_LAYOUT`).
"""

import contextlib
import ctypes
import json
import os
import pwd
import shutil
import signal
import site as sitelib
import socket
import stat
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
PORT_WAIT_SECONDS = 120.0


@dataclass(frozen=True)
class Layout:
    """Where things are on this host; see `render.layout` for the writer."""

    cluster: str
    engine: str
    hosts: dict[str, list[str]]
    users: list[str]
    paths: dict[str, str]
    ports: dict[str, int]
    dbd_host: str
    gpu_files: list[str]
    power_saving: list[str]

    @classmethod
    def load(cls) -> "Layout":
        data: dict[str, Any] = json.loads(Path(os.environ["MINISLURM_LAYOUT"]).read_text())
        return cls(**data)

    def path(self, name: str) -> Path:
        return Path(self.paths[name])

    def control_socket(self, host: str) -> Path:
        return self.path("run") / f"{host}.sock"


def own(path: Path, user: str, mode: int) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
    path.chmod(mode)


def make_dir(path: Path, user: str = "root", mode: int = 0o755) -> None:
    path.mkdir(parents=True, exist_ok=True)
    own(path, user, mode)


# --- preparing the host ---------------------------------------------------------------


def prepare(layout: Layout, host: str) -> None:
    for name in ("run", "lib"):
        make_dir(layout.path(name))
    daemons = layout.hosts[host]
    if "munged" in daemons:
        prepare_munge(layout)
    if "mariadbd" in daemons:
        prepare_database(layout)
    if "slurmctld" in daemons:
        if layout.power_saving:
            make_dir(power_dir(layout), "slurm")
        make_dir(layout.path("lib") / "slurmctld", "slurm")
        make_dir(layout.path("ef_lib"), "ef-slurm", 0o700)
        make_dir(layout.path("ef_run"), "ef-slurm")
    if "slurmd" in daemons:
        make_gpus(layout)
    if host == "login":
        make_dir(layout.path("shared"), mode=0o1777)
        for user in layout.users:
            make_dir(layout.path("shared") / "home" / user, user, 0o700)
    if layout.engine == "docker" or host == "login":
        install_project(layout)


def power_dir(layout: Layout) -> Path:
    """Where SuspendProgram and ResumeProgram say, in a file for each node, what it is to be."""
    return layout.path("shared") / "power"


def prepare_munge(layout: Layout) -> None:
    """One key for the whole cluster, readable by munged alone."""
    key = layout.path("run") / "munge.key"
    shutil.copyfile(layout.path("secret") / "munge.key", key)
    own(key, "munge", 0o400)
    make_dir(layout.path("munge_socket").parent, "munge")


def prepare_database(layout: Layout) -> None:
    run, data = layout.path("run"), layout.path("mariadb")
    if not (data / "mysql").is_dir():
        make_dir(data, "mysql", 0o700)
        command = ["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}"]
        with (layout.path("log") / "mariadbd.log").open("ab") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
    sql = run / "init.sql"
    shutil.copyfile(layout.path("secret") / "init.sql", sql)
    own(sql, "mysql", 0o400)
    make_dir(run / "mariadb", "mysql")
    make_dir(run / "slurmdbd", "slurm", 0o700)
    conf = run / "slurmdbd" / "slurmdbd.conf"
    shutil.copyfile(layout.path("secret") / "slurmdbd.conf", conf)
    own(conf, "slurm", 0o600)


def make_gpus(layout: Layout) -> None:
    """Device files with the numbers of /dev/null: nothing reads them, Slurm counts them."""
    for gpu in layout.gpu_files:
        path = Path(gpu)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        # Several native hosts may make the same file at once.
        with contextlib.suppress(FileExistsError):
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        path.chmod(0o666)


COMMAND = """\
#!/usr/bin/python3
import sys

from {module} import {function}

sys.exit({function}())
"""


def install_project(layout: Layout) -> None:
    """What an editable install does, without pip.

    Commands and metadata point at the checkout, so that `ef-sbatch` and `importlib.metadata` work
    and code is never stale.
    """
    project = tomllib.loads((layout.path("checkout") / "pyproject.toml").read_text())["project"]
    scripts: dict[str, str] = project.get("scripts", {})
    site = Path(layout.paths["site"] or sitelib.getsitepackages()[0])
    bin_dir = layout.path("bin")
    info = site / f"ef_slurm-{project['version']}.dist-info"
    for directory in (bin_dir, info):
        directory.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    entries = "".join(f"{name} = {target}\n" for name, target in scripts.items())
    (info / "entry_points.txt").write_text(f"[console_scripts]\n{entries}")
    (site / "ef_slurm.pth").write_text(f"{layout.path('checkout')}\n")
    for name, target in scripts.items():
        module, function = target.split(":")
        command = bin_dir / name
        command.write_text(COMMAND.format(module=module, function=function))
        command.chmod(0o755)
    for name in ("torchrun", "systemctl"):
        shutil.copyfile(Path(__file__).with_name(f"{name}.py"), bin_dir / name)
        (bin_dir / name).chmod(0o755)


# --- the daemons ----------------------------------------------------------------------


@dataclass(frozen=True)
class Daemon:
    """How a daemon is started.

    Attributes:
        user: who runs it.
        command: its command line.
        slurm_conf: what SLURM_CONF says to it.
        needs: host and port that must answer before; nothing if empty.
    """

    user: str
    command: list[str]
    slurm_conf: Path
    needs: tuple[str, int] | None = None


def daemon_named(name: str, layout: Layout, host: str) -> Daemon:
    conf = layout.path("conf") / "slurm.conf"
    match name:
        case "munged":
            return Daemon("munge", munged(layout), conf)
        case "mariadbd":
            return Daemon("mysql", mariadbd(layout), conf)
        case "slurmdbd":
            # It looks for slurmdbd.conf beside the file that SLURM_CONF names.
            conf = layout.path("run") / "slurmdbd" / "slurm.conf"
            needs = ("127.0.0.1", layout.ports["mariadb"])
            return Daemon("slurm", ["slurmdbd", "-D"], conf, needs)
        case "slurmctld":
            dbd = (layout.dbd_host, layout.ports["slurmdbd"]) if layout.dbd_host else None
            # -i: 26.05, killed before it first saved its state (after 5 minutes), would not start.
            return Daemon("slurm", ["slurmctld", "-D", "-i"], conf, dbd)
        case "slurmd":
            # -b: it was switched on just now, which is what slurmctld waits for after a resume.
            booted = ["-b"] if host in layout.power_saving else []
            return Daemon("root", ["slurmd", "-D", *booted, "-N", host], conf)
    raise KeyError(name)


def munged(layout: Layout) -> list[str]:
    run = layout.path("run")
    return [
        "munged",
        "--foreground",
        # Directories are checked for strangers' write permission; /tmp-like parents are ours.
        "--force",
        f"--key-file={run / 'munge.key'}",
        f"--socket={layout.path('munge_socket')}",
        f"--pid-file={layout.path('munge_socket').parent / 'munged.pid'}",
        f"--seed-file={layout.path('munge_socket').parent / 'munged.seed'}",
    ]


def mariadbd(layout: Layout) -> list[str]:
    run = layout.path("run")
    return [
        "mariadbd",
        "--no-defaults",
        f"--datadir={layout.path('mariadb')}",
        f"--socket={run / 'mariadb' / 'mariadbd.sock'}",
        f"--pid-file={run / 'mariadb' / 'mariadbd.pid'}",
        f"--init-file={run / 'init.sql'}",
        f"--port={layout.ports['mariadb']}",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--performance-schema=OFF",
        "--innodb-buffer-pool-size=64M",
        "--innodb-lock-wait-timeout=900",
        # On since MariaDB 11.6; slurmdbd ends itself when two transactions meet ("loose": older
        # servers do not know it).
        "--loose-innodb-snapshot-isolation=OFF",
        # The data lives as long as the cluster: no disk flush for each transaction.
        "--innodb-flush-log-at-trx-commit=0",
    ]


def wait_for_port(address: str, port: int) -> None:
    deadline = time.monotonic() + PORT_WAIT_SECONDS
    while True:
        try:
            socket.create_connection((address, port), timeout=2).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


class Supervisor:
    """Starts this host's daemons, reaps whatever ends on it, and does what it is asked."""

    def __init__(self, layout: Layout, host: str) -> None:
        self.layout = layout
        self.host = host
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> str:
        if self.status()[name] == "running":
            return f"{name} is already running"
        daemon = daemon_named(name, self.layout, self.host)
        if daemon.needs:
            wait_for_port(*daemon.needs)
        log_path = self.layout.path("log") / f"{self.host}-{name}.log"
        account = pwd.getpwnam(daemon.user)
        with log_path.open("ab") as log:
            self.processes[name] = subprocess.Popen(
                daemon.command,
                env=os.environ | {"SLURM_CONF": str(daemon.slurm_conf)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=[] if account.pw_uid else None,
                start_new_session=True,
            )
        return f"{name} started"

    def kill(self, name: str) -> str:
        if self.status()[name] != "running":
            return f"{name} is not running"
        process = self.processes[name]
        process.kill()
        process.wait()
        return f"{name} killed"

    def status(self) -> dict[str, str]:
        return {name: self._state(name) for name in self.layout.hosts[self.host]}

    def _state(self, name: str) -> str:
        process = self.processes.get(name)
        if process is None:
            return "not started"
        code = process.poll()
        return "running" if code is None else f"ended with {code}"

    def obey_power(self) -> None:
        """Switch the node's slurmd off or on, where slurmctld asked for it."""
        if self.host not in self.layout.power_saving:
            return
        wanted = power_dir(self.layout) / self.host
        taken = wanted.with_suffix(".taken")
        try:
            # Each word is obeyed once: who starts slurmd by hand afterwards has it.
            wanted.rename(taken)
        except OSError:
            return
        if taken.read_text().strip() == "on":
            self.start("slurmd")
        else:
            self.kill("slurmd")

    def reap_orphans(self) -> None:
        """Collect processes that jobs left behind, never a daemon (`Popen` does that)."""
        ours = {p.pid for p in self.processes.values() if p.returncode is None}
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            if ended.si_pid in ours:
                self.status()
                ours.discard(ended.si_pid)
            else:
                os.waitpid(ended.si_pid, 0)

    def serve(self) -> None:
        path = self.layout.control_socket(self.host)
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.bind(str(path))
            path.chmod(0o600)
            server.listen()
            server.settimeout(0.3)
            while True:
                self.reap_orphans()
                self.obey_power()
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    self.answer(connection)

    def answer(self, connection: socket.socket) -> None:
        verb, _, name = connection.recv(200).decode().strip().partition(" ")
        try:
            if verb == "status":
                reply = json.dumps(self.status())
            else:
                reply = {"start": self.start, "kill": self.kill}[verb](name)
        except (OSError, KeyError) as error:
            reply = f"error: {verb} {name}: {error!r}"
        with contextlib.suppress(OSError):
            connection.sendall(reply.encode())


def boot(layout: Layout, host: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    prepare(layout, host)
    supervisor = Supervisor(layout, host)
    for name in layout.hosts[host]:
        supervisor.start(name)
    supervisor.serve()


def ask(layout: Layout, host: str, request: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PORT_WAIT_SECONDS)
        try:
            client.connect(str(layout.control_socket(host)))
        except OSError as error:
            print(f"error: nobody looks after host {host}: {error}", file=sys.stderr)
            return 1
        client.sendall(request.encode())
        reply = client.recv(4000).decode()
    failed = reply.startswith("error:")
    print(reply, file=sys.stderr if failed else sys.stdout)
    return int(failed)


def main(arguments: list[str]) -> int:
    layout, host = Layout.load(), os.environ["MINISLURM_HOST"]
    if arguments == ["boot"]:
        boot(layout, host)
        return 0
    daemons = layout.hosts[host]
    match arguments:
        case ["status"]:
            return ask(layout, host, "status")
        case ["start" | "kill" as verb, name] if name in daemons:
            return ask(layout, host, f"{verb} {name}")
    print(f"error: {arguments}: daemons of {host} are {', '.join(daemons)}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
