"""The plan of an installation for a site: what a service needs and does not have yet.

Pure, but for a look at the directories. The order is such that a stop after any step leaves
something that works as before: files that nobody reads yet come first, slurm.conf, which the next
reconfiguration reads, last.
"""

from __future__ import annotations

import enum
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ef_slurm.installation.slurm_side import slurm_steps
from ef_slurm.installation.steps import (
    ByHand,
    InstallationError,
    MakeDirectory,
    Plan,
    RunCommand,
    Step,
    WishError,
    WriteFile,
    text_of,
)
from ef_slurm.installation.survey import (
    PACKAGED_UNITS,
    UNIT,
    Host,
    Slurm,
    directory_state,
    shipped,
    site_document,
)
from ef_slurm.installation.toml_edit import set_keys
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.errors import SiteConfigError
from ef_slurm.siteconfig.load import SYSTEM
from ef_slurm.siteconfig.reader import parse
from ef_slurm.siteconfig.tables import SiteConfig

LIBRARY = Path("/var/lib/ef-slurm")
RUN = Path("/run/ef-slurm")
_PERSONAL = re.compile(r"~|\$")
# What goes into slurm.conf, Lua and a unit as it is.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HOST = re.compile(r"[A-Za-z0-9_.:-]*")
_PLACE = re.compile(r"/[A-Za-z0-9_.,:+@%=/-]*")


class Part(enum.Enum):
    """The parts of an installation, in their order."""

    ACCOUNT = "account"
    DIRECTORIES = "directories"
    CONFIGURATION = "configuration"
    UNIT = "unit"
    SLURM = "slurm"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the administrator says; None for what is there, or else the usual.

    Args:
        config: the site's file.
        shared: directory on the file system that all hosts share; `ef-slurm/` lies in it.
        host: where other login hosts reach the daemon.
        nodes: of the partition, where it has to be made.
        parts: to be done.
    """

    config: Path = SYSTEM
    shared: Path | None = None
    partition: str | None = None
    nodes: str | None = None
    user: str | None = None
    host: str | None = None
    parts: frozenset[Part] = frozenset(Part)


def names_of(wishes: Wishes) -> tuple[str, str]:
    """The daemon's user and the partition.

    Raises:
        InstallationError: the site's file cannot be read.
    """
    _, document = site_document(wishes.config)
    user = wishes.user or _given(document, "daemon", "user") or "ef-slurm"
    return user, wishes.partition or _given(document, "slurm", "partition") or "ef"


def plan_service(wishes: Wishes, host: Host, slurm: Slurm | None) -> Plan:
    """What there is to do.

    Args:
        slurm: None where its part is not asked for.

    Raises:
        InstallationError: something is wished that cannot be.
    """
    text, document = site_document(wishes.config)
    keys = _keys(wishes, host, document)
    try:
        wanted = set_keys(text, keys) if text is not None else _new_file(keys)
        config = parse(wanted, wishes.config)
    except InstallationError as error:
        raise InstallationError(f"{wishes.config}: {error}") from None
    except SiteConfigError as error:
        raise InstallationError(str(error)) from None
    steps: list[Step] = []
    by_hand: list[ByHand] = []
    if Part.ACCOUNT in wishes.parts:
        steps += _account(config.daemon.user, host)
    if Part.DIRECTORIES in wishes.parts:
        steps += _directories(config, host)
    if Part.CONFIGURATION in wishes.parts and wanted != text:
        why = "the keys that make it a service; every command on this host reads this file"
        steps.append(WriteFile(wishes.config, text, wanted, why))
    if Part.UNIT in wishes.parts:
        steps += _unit(config, wishes.config, host)
    reconfigure = False
    if Part.SLURM in wishes.parts and slurm is not None:
        for found in slurm_steps(config, slurm, wishes.nodes):
            if isinstance(found, ByHand):
                by_hand.append(found)
            elif isinstance(found, bool):
                reconfigure = True
            else:
                steps.append(found)
    return Plan(tuple(steps), tuple(by_hand), reconfigure)


def _given(document: Mapping[str, Any], table: str, key: str) -> str:
    below = document.get(table, {})
    value = below.get(key, "") if isinstance(below, dict) else ""
    return value if isinstance(value, str) else ""


def _keys(wishes: Wishes, host: Host, document: Mapping[str, Any]) -> Mapping[tuple[str, str], str]:
    """The keys that the file does not have yet as they must be."""
    user, partition = names_of(wishes)

    def fit(table: str, key: str, usual: str) -> str:
        value = _given(document, table, key)
        return usual if not value or _PERSONAL.search(value) else value

    shared = None if wishes.shared is None else wishes.shared / "ef-slurm"
    state, orders = (str(shared / name) if shared else "" for name in ("jobs", "orders"))
    state = state or fit("jobs", "state_root", "")
    if not state:
        raise WishError(
            "--shared=DIRECTORY is missing: on a file system that login nodes, compute nodes and "
            "this host share; the jobs' checkpoints and orders go to DIRECTORY/ef-slurm"
        )
    wanted = {
        ("slurm", "partition"): partition,
        ("queue", "path"): fit("queue", "path", str(LIBRARY / "queue.sqlite")),
        ("daemon", "serves"): "everyone",
        ("daemon", "user"): user,
        ("daemon", "socket"): fit("daemon", "socket", str(RUN / "ef-schedd.sock")),
        ("daemon", "host"): _given(document, "daemon", "host")
        if wishes.host is None and _given(document, "daemon", "host")
        else (host.name if wishes.host is None else wishes.host),
        ("jobs", "state_root"): state,
        ("jobs", "order_root"): orders
        or fit("jobs", "order_root", str(Path(state).with_name("orders"))),
    }
    for (table, key), value in wanted.items():
        form, what = _FORMS[key]
        if not form.fullmatch(value):
            raise WishError(f"[{table}] {key} = {value!r}: give {what}")
    if host.commands:
        wanted["slurm", "commands"] = fit("slurm", "commands", host.commands)
    return {
        (table, key): value
        for (table, key), value in wanted.items()
        if document.get(table, {}).get(key) != value
    }


_A_NAME = (_NAME, "a name of letters, digits, and . _ -")
_A_PLACE = (_PLACE, "an absolute path without blanks and quotes")
_FORMS = {
    "partition": _A_NAME,
    "user": _A_NAME,
    "serves": _A_NAME,
    "host": (_HOST, "the name of a host, or nothing"),
    **dict.fromkeys(("path", "socket", "state_root", "order_root"), _A_PLACE),
}

_WHY = {
    ("slurm", "partition"): "What ef-slurm schedules. Nothing else starts jobs in it.",
    ("slurm", "commands"): "Where sbatch, scontrol, squeue and scancel are.",
    ("queue", "path"): "On a local disk of the daemon's host.",
    ("daemon", "serves"): "The daemon serves the site; commands ask it.",
    ("daemon", "user"): "Who it runs as: a Slurm operator. Commands believe nobody else.",
    ("daemon", "socket"): "Where commands on its own host ask it,",
    ("daemon", "host"): "and where those on other login hosts do (TCP, with MUNGE).",
    ("jobs", "state_root"): "The jobs' checkpoints and reports: users write, the daemon reads.",
    ("jobs", "order_root"): "The daemon's orders to the jobs: nobody else writes there.",
}


def _new_file(keys: Mapping[tuple[str, str], str]) -> str:
    """A file with these keys, each with its reason."""
    lines = [
        "# ef-slurm at this site, made by `ef-schedd setup --service`. All other keys, with their",
        "# defaults: site-config/ef-slurm.toml. `ef-schedd check` compares this file with Slurm.",
    ]
    table = ""
    for name, key in sorted(keys, key=list(_WHY).index):
        if name != table:
            lines += ["", f"[{name}]"]
            table = name
        lines += [f"# {_WHY[name, key]}", f"{key} = {_quoted(keys[name, key])}"]
    return "\n".join(lines) + "\n"


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _account(user: str, host: Host) -> Iterator[Step]:
    if user in host.accounts:
        return
    options = ("--system", "--home-dir", str(LIBRARY), "--shell", "/usr/sbin/nologin")
    yield RunCommand(
        ("useradd", *options, user),
        "the daemon runs as this user. Its number must be the same on all hosts: where accounts "
        "come from a directory service, make it there and leave this out",
    )


def _directories(config: SiteConfig, host: Host) -> Iterator[Step]:
    user = config.daemon.user
    group = host.accounts.get(user, user)
    account = Account.named(user)

    def mine(found: os.stat_result, forbidden: int, needed: int = 0) -> bool:
        own = account is not None and found.st_uid == account.uid
        return own and not found.st_mode & forbidden and found.st_mode & needed == needed

    def passes_group_on(found: os.stat_result) -> bool:
        gids = frozenset[int]() if account is None else account.gids
        mode = found.st_mode
        return bool(mode & stat.S_ISGID) and found.st_gid in gids and mode & 0o7 == 0o7

    others_write = stat.S_IWGRP | stat.S_IWOTH
    roots = (config.jobs.state_root, config.order_root)
    for path in dict.fromkeys(root.parent for root in roots):
        if directory_state(path, lambda _: True) is not None:
            why = "what ef-slurm has on the shared file system"
            yield MakeDirectory(path, "root", "root", 0o755, why)
    wanted = (
        MakeDirectory(
            config.queue.path.parent, user, group, 0o700, "the queue; nobody else looks into it"
        ),
        MakeDirectory(
            roots[0],
            "root",
            group,
            0o3777,
            "each user makes their jobs' directories here (sticky: nobody removes another's), and "
            "the group goes on to them, so that the daemon reads the reports",
        ),
        MakeDirectory(
            roots[1],
            user,
            group,
            0o711,
            "the daemon alone writes its orders here, jobs read theirs",
        ),
    )
    suits = (
        lambda found: mine(found, others_write),
        passes_group_on,
        lambda found: mine(found, others_write, stat.S_IXOTH),
    )
    for step, suit in zip(wanted, suits, strict=True):
        found = directory_state(step.path, suit)
        if found is not None:
            yield replace(step, found=found)


def _unit(config: SiteConfig, file: Path, host: Host) -> Iterator[Step]:
    """The unit; where a package has brought one, what this site changes of it."""
    lines = {
        "User": config.daemon.user,
        "Group": host.accounts.get(config.daemon.user, config.daemon.user),
        "Environment": f"EF_SLURM_CONFIG={file}",
        "ExecStart": f"{host.program} run",
        "ReadWritePaths": " ".join(f"-{path}" for path in _written(config)),
    }
    packaged = next((unit for unit in PACKAGED_UNITS if unit in host.units), None)
    if packaged is not None and UNIT not in host.units:
        place = UNIT.with_name(f"{UNIT.name}.d") / "site.conf"
        head = "# Made by `ef-schedd setup --service`.\n[Service]\n"
        del lines["ExecStart"]
        body = "".join(f"{key}={value}\n" for key, value in lines.items())
        text = head + body + _variables(host)
    else:
        place, text = UNIT, shipped("systemd/ef-schedd.service")
        names = "|".join(lines)
        text = re.sub(
            rf"^({names})=.*$", lambda found: f"{found[1]}={lines[found[1]]}", text, flags=re.M
        )
        variables = _variables(host)
        text = text.replace("ExecStart=", f"{variables}ExecStart=", 1) if variables else text
    before = host.units.get(place) if place in host.units else _existing(place)
    if before is None or not _suits(before, config, file):
        yield WriteFile(place, before, text, "systemd starts the daemon, and lets it do no more")


def _written(config: SiteConfig) -> Iterator[Path]:
    """Where the daemon writes beside what systemd makes for it."""
    yield config.order_root
    if config.queue.path.parent != LIBRARY:
        yield config.queue.path.parent
    if config.socket.parent != RUN:
        yield config.socket.parent


def _variables(host: Host) -> str:
    return "".join(f"Environment={name}={value}\n" for name, value in host.environment.items())


def _existing(path: Path) -> str | None:
    try:
        return text_of(path)
    except FileNotFoundError:
        return None


def _suits(unit: str, config: SiteConfig, file: Path) -> bool:
    """Whether a unit that is there does: what else an administrator has changed in it stays."""

    def values(key: str) -> list[str]:
        found = re.findall(rf"^{key}=(.*)$", unit, re.M)
        return [word for value in found for word in value.split()]

    paths = {word.lstrip("-+") for word in values("ReadWritePaths")}
    named = {word.partition("=")[2] for word in values("Environment") if "EF_SLURM_CONFIG" in word}
    return (
        values("User")[-1:] == [config.daemon.user]
        and {str(path) for path in _written(config)} <= paths
        and named <= {str(file)}
        and (bool(named) or file == SYSTEM)
    )
