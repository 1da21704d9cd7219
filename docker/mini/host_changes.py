"""What a native cluster changes on its host, written down first, and taken back at the end.

Users that the host lacks are made for all native clusters together; each cluster has one line
in /etc/hosts, so that `n1` resolves as it does in containers.
"""

import json
import pwd
from pathlib import Path

from mini.process import run
from mini.settings import USERS, Cluster, lock, registered, state_root

ETC_HOSTS = Path("/etc/hosts")


def apply(cluster: Cluster) -> None:
    with lock("host-changes"):
        missing = [user for user in USERS if not user_exists(user)]
        write_made_users(sorted({*made_users(), *missing}))
        for user in missing:
            options = ["--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
            run(["useradd", *options, "--shell", "/bin/bash", user])
        names = " ".join(["ctl", *cluster.node_names])
        lines = other_lines(cluster)
        write_hosts([*lines, f"127.0.0.1 {names} {mark(cluster)}"])


def revert(cluster: Cluster) -> None:
    with lock("host-changes"):
        write_hosts(other_lines(cluster))
        others = [c for c in registered() if c.engine == "native" and c.name != cluster.name]
        if others:
            return
        for user in made_users():
            if user_exists(user):
                run(["userdel", user])
        users_file().unlink(missing_ok=True)


def user_exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def users_file() -> Path:
    return state_root() / "made-users.json"


def made_users() -> list[str]:
    """Users that we made, or were about to make; others are never removed."""
    if not users_file().exists():
        return []
    users: list[str] = json.loads(users_file().read_text())
    return users


def write_made_users(users: list[str]) -> None:
    if users:
        users_file().write_text(json.dumps(users) + "\n")


def mark(cluster: Cluster) -> str:
    return f"# minislurm {cluster.name}"


def other_lines(cluster: Cluster) -> list[str]:
    return [line for line in ETC_HOSTS.read_text().splitlines() if not line.endswith(mark(cluster))]


def write_hosts(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    if text == ETC_HOSTS.read_text():
        return
    new = ETC_HOSTS.with_name("hosts.minislurm")
    new.write_text(text)
    new.chmod(0o644)
    try:
        new.replace(ETC_HOSTS)
    except OSError:
        # Inside a container the file is a mount and cannot be replaced.
        ETC_HOSTS.write_text(text)
        new.unlink()
