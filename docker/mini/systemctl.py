#!/usr/bin/python3
"""Stands in for systemctl on hosts of the mini-Slurm, which have no systemd.

It starts and stops a service as its unit says: user, environment, directories, command, and a start
that is over when the service says that it is ready. What systemd forbids a service it does not.

    systemctl daemon-reload
    systemctl enable [--now] | start | stop | restart | is-active UNIT
"""

import json
import os
import pwd
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PLACES = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
START_SECONDS = 90.0
Unit = dict[str, list[str]]


def read_unit(name: str) -> Unit:
    """The settings of [Service], drop-ins included."""
    files = [path for place in PLACES if (path := Path(place) / name).is_file()][:1]
    if not files:
        sys.exit(f"Failed to start {name}: Unit {name} not found.")
    for place in reversed(PLACES):
        files += sorted((Path(place) / f"{name}.d").glob("*.conf"))
    settings: Unit = {}
    for file in files:
        section = ""
        for line in file.read_text().splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif "=" in line and not line.startswith(("#", ";")) and section == "Service":
                key, _, value = line.partition("=")
                settings.setdefault(key, []).append(value)
    return settings


def last(unit: Unit, key: str, default: str) -> str:
    return unit.get(key, [default])[-1]


def run_directory() -> Path:
    return Path(json.loads(Path(os.environ["MINISLURM_LAYOUT"]).read_text())["paths"]["run"])


def pid_of(name: str) -> int:
    """Of the service that runs; 0 for none."""
    try:
        pid = int((run_directory() / f"{name}.pid").read_text())
        alive = b"ef-schedd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return 0
    return pid if alive else 0


def start(name: str) -> None:
    if pid_of(name):
        return
    unit = read_unit(name)
    account = pwd.getpwnam(last(unit, "User", "root"))
    for kind, parent in (("RuntimeDirectory", "/run"), ("StateDirectory", "/var/lib")):
        for directory in (Path(parent) / each for each in last(unit, kind, "").split()):
            directory.mkdir(parents=True, exist_ok=True)
            os.chown(directory, account.pw_uid, account.pw_gid)
            directory.chmod(int(last(unit, f"{kind}Mode", "0755"), 8))
    environment = {"PATH": SEARCH_PATH, "USER": account.pw_name, "HOME": account.pw_dir}
    for words in unit.get("Environment", []):
        environment |= dict(word.partition("=")[::2] for word in shlex.split(words))
    # By these `docker/minislurm down` knows what is its own.
    environment |= {k: v for k, v in os.environ.items() if k.startswith("MINISLURM_")}
    notify = run_directory() / f"{name}.notify"
    notify.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(str(notify))
        notify.chmod(0o777)
        ready.settimeout(0.2)
        log = Path(json.loads(Path(os.environ["MINISLURM_LAYOUT"]).read_text())["paths"]["log"])
        with (log / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                shlex.split(last(unit, "ExecStart", "false")),
                env=environment | {"NOTIFY_SOCKET": str(notify)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=os.getgrouplist(account.pw_name, account.pw_gid),
                umask=int(last(unit, "UMask", "0022"), 8),
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < end:
            try:
                if b"READY=1" in ready.recv(4096):
                    (run_directory() / f"{name}.pid").write_text(f"{process.pid}\n")
                    return
            except TimeoutError:
                continue
    sys.exit(f"Job for {name} failed: see {log / f'{name}.log'}")


def stop(name: str) -> None:
    pid = pid_of(name)
    if pid:
        os.kill(pid, signal.SIGTERM)
    while pid_of(name):
        time.sleep(0.1)


def main(words: list[str]) -> None:
    match [word for word in words if word not in ("--quiet", "-q")]:
        case ["daemon-reload"] | ["enable", _]:
            return
        case ["enable", "--now", name] | ["start", name]:
            start(unit_name(name))
        case ["stop", name]:
            stop(unit_name(name))
        case ["restart", name]:
            stop(unit_name(name))
            start(unit_name(name))
        case ["is-active", name]:
            active = bool(pid_of(unit_name(name)))
            print("active" if active else "inactive")
            sys.exit(0 if active else 3)
        case _:
            sys.exit(f"this mini-Slurm's systemctl knows no {shlex.join(words)}")


def unit_name(name: str) -> str:
    return name if name.endswith(".service") else f"{name}.service"


if __name__ == "__main__":
    main(sys.argv[1:])
