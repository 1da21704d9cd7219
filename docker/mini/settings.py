"""What a mini-Slurm is: its settings, checked, and where its files lie."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
DOCKER_DIR = CHECKOUT / "docker"
USERS = ("user1", "user2", "ef-slurm")
MAX_NODES = 64
MAX_GPUS = 64
TORCH = "python3-torch"
CHARTS = "python3-vl-convert"
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")


class UserError(Exception):
    """Something the caller can put right: printed as one line, exit code 2."""


@dataclass(frozen=True)
class Suite:
    """A Debian release and how its Slurm differs.

    Attributes:
        slurm: release of Slurm in it.
        cgroup_plugin: what cgroup.conf has to say where no cgroups are used.
        python: its release of Python, where it lacks packages.
        lacks: packages of packages.txt that it does not have, or in too old a release; pip fetches
            what stands for them (wheels.py).
    """

    slurm: str
    cgroup_plugin: str = "disabled"
    python: str = ""
    lacks: frozenset[str] = frozenset()


SUITES = {
    "bookworm": Suite(
        "22.05",
        cgroup_plugin="cgroup/v1",
        python="3.11",
        lacks=frozenset({"python3-msgspec", CHARTS, TORCH}),
    ),
    "trixie": Suite("24.11", python="3.13", lacks=frozenset({CHARTS})),
    "sid": Suite("26.05", python="3.14", lacks=frozenset({CHARTS})),
}
DEFAULT_SUITE = "trixie"


@dataclass(frozen=True)
class Cluster:
    """The settings of one mini-Slurm.

    Attributes:
        suite: Debian release; empty until an engine is chosen, where the user named none.
        engine: "docker" or "native"; "auto" until one is chosen.
        accounting: whether slurmdbd runs; known once the engine is prepared.
        docker_host: address of the Docker engine that it runs in; empty for the caller's own.
        variants: names of `variants.VARIANTS`.
    """

    name: str
    suite: str
    nodes: int
    gpus_per_node: int
    engine: str
    accounting: bool = False
    docker_host: str = ""
    variants: tuple[str, ...] = ()

    @property
    def node_names(self) -> list[str]:
        return [f"n{i}" for i in range(1, self.nodes + 1)]

    @property
    def hosts(self) -> list[str]:
        service = ["login", "db", "ctl"] if self.accounting else ["login", "ctl"]
        return service + self.node_names

    @property
    def directory(self) -> Path:
        return clusters_dir() / self.name


def check_name(name: str) -> str:
    if not NAME_PATTERN.fullmatch(name):
        raise UserError(
            f"--name {name!r}: a name is 1 to 24 of a-z, 0-9 and '-', and does not start with '-'"
        )
    return name


def check_suite(suite: str) -> str:
    if suite not in SUITES:
        raise UserError(f"--suite {suite!r} is unknown: choose one of {', '.join(SUITES)}")
    return suite


def check_nodes(nodes: int) -> int:
    if not 1 <= nodes <= MAX_NODES:
        raise UserError(f"--nodes {nodes}: a mini-Slurm has 1 to {MAX_NODES} nodes")
    return nodes


def check_gpus(gpus: int) -> int:
    if not (1 <= gpus <= MAX_GPUS and gpus & (gpus - 1) == 0):
        raise UserError(
            f"--gpus-per-node {gpus}: must be a power of two from 1 to {MAX_GPUS} (1, 2, 4, 8, ...)"
        )
    return gpus


def state_root() -> Path:
    """Everything that outlives one command: images of the private engine, clusters, caches."""
    chosen = os.environ.get("MINISLURM_STATE")
    if chosen:
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/minislurm")
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "minislurm"


def clusters_dir() -> Path:
    return state_root() / "clusters"


def check_space(path: Path, needed_gib: float, what: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; set MINISLURM_STATE to a directory of yours"
        ) from None
    free_gib = shutil.disk_usage(path).free / 2**30
    if free_gib < needed_gib:
        raise UserError(
            f"no disk space: {what} needs {needed_gib:g} GiB in {path}, {free_gib:.1f} GiB are "
            "free; free some or set MINISLURM_STATE to a directory elsewhere"
        )


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Held by one minislurm process at a time."""
    root = state_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = (root / f"{name}.lock").open("w")
    except PermissionError as error:
        raise UserError(
            f"cannot write {root}: {error.strerror}; set MINISLURM_STATE to a directory of yours"
        ) from None
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def register(cluster: Cluster) -> None:
    """Take the cluster's name; every file of it lies in its directory from now on."""
    clusters_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=clusters_dir()) as directory:
        new = Path(directory) / "cluster"
        new.mkdir(mode=0o755)
        write_settings(new, cluster)
        try:
            # In one step, so that a directory without settings can never block a name.
            new.rename(cluster.directory)
        except OSError:
            raise UserError(
                f"a mini-Slurm named {cluster.name!r} exists already: use it, choose another "
                f"--name, or end it with: docker/minislurm down --name {cluster.name}"
            ) from None


def save(cluster: Cluster) -> None:
    write_settings(cluster.directory, cluster)


def write_settings(directory: Path, cluster: Cluster) -> None:
    new = directory / "cluster.json.new"
    new.write_text(json.dumps(asdict(cluster), indent=2) + "\n")
    new.replace(directory / "cluster.json")


def registered() -> list[Cluster]:
    found = sorted(clusters_dir().glob("[!.]*/cluster.json"))
    return [_read(path) for path in found]


def _read(path: Path) -> Cluster:
    """A running mini-Slurm's settings; what only another version's `up` wrote is passed over."""
    known = {field.name for field in fields(Cluster)}
    settings = json.loads(path.read_text())
    settings["variants"] = tuple(settings.get("variants", ()))
    return Cluster(**{name: value for name, value in settings.items() if name in known})


def find(name: str) -> Cluster:
    path = clusters_dir() / check_name(name) / "cluster.json"
    try:
        return _read(path)
    except FileNotFoundError:
        raise UserError(
            f"no mini-Slurm named {name!r} is up: start it with: docker/minislurm up --name {name}"
        ) from None
