"""A mini-Slurm in containers, one for each host."""

import dataclasses
import ipaddress
import json
import os
import time
from pathlib import Path

from mini import bytecode, image, variants
from mini.dockerd import Docker
from mini.engine import Invocation
from mini.process import say
from mini.render import Wiring
from mini.settings import CHECKOUT, DOCKER_DIR, SUITES, Cluster, UserError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
SUBNETS = ipaddress.ip_network("10.213.0.0/16")
REMOVAL_TIMEOUT_SECONDS = 30.0
PORTS = {"slurmctld": 6817, "slurmd": 6818, "slurmdbd": 6819, "mariadb": 3306}
PATHS = {
    "run": "/run/minislurm",
    "lib": "/var/lib/minislurm",
    "log": "/var/log/minislurm",
    "conf": "/etc/slurm",
    "secret": "/minislurm/secret",
    "shared": "/shared",
    "checkout": "/opt/ef-slurm",
    "munge_socket": "/run/munge/munge.socket.2",
    "mariadb": "/var/lib/mysql",
    # Python's own place for packages
    "site": "",
    "bin": "/usr/local/bin",
    "ef_lib": "/var/lib/ef-slurm",
    "ef_run": "/run/ef-slurm",
}
SMALL_DISK = {
    "driver": "local",
    "driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=128m,mode=0755"},
}
DAEMONS = {
    "db": ["munged", "mariadbd", "slurmdbd"],
    "ctl": ["munged", "slurmctld"],
    "login": ["munged"],
}


class DockerEngine:
    def __init__(self, docker: Docker) -> None:
        self.docker = docker

    def prepare(self, cluster: Cluster) -> Cluster:
        image.ensure(self.docker, cluster.suite)
        return dataclasses.replace(cluster, accounting=True)

    def wiring(self, cluster: Cluster) -> Wiring:
        return Wiring(
            ctl_host="ctl",
            dbd_host="db",
            node_addresses=dict.fromkeys(cluster.node_names, ""),
            cgroup_plugin=SUITES[cluster.suite].cgroup_plugin,
            hosts={host: DAEMONS.get(host, ["munged", "slurmd"]) for host in cluster.hosts},
            paths=PATHS,
            ports=PORTS,
            gpu_device="/dev/fakegpu",
        )

    def boot(self, cluster: Cluster) -> None:
        self._compile(cluster)
        for subnet in self._free_subnets():
            self._write_compose(cluster, subnet)
            try:
                self._compose(cluster, "up", "--detach", "--no-color", *cluster.hosts)
            except UserError as error:
                # Somebody took the addresses between our look and our start.
                if "overlap" not in str(error):
                    raise
                self._compose(cluster, "down", "--timeout", "0", "--volumes")
            else:
                return
        raise UserError(f"no free subnet in {SUBNETS}: end other mini-Slurms first")

    def _compile(self, cluster: Cluster) -> None:
        """As the one who runs this command; who may not write the checkout goes without."""
        place = PATHS["checkout"]
        options = ["--rm", "--network", "none", "--user", f"{os.geteuid()}:{os.getegid()}"]
        options += ["--volume", f"{CHECKOUT}:{place}", "--workdir", place]
        name = image.image_name(cluster.suite)

        def run_python(arguments: list[str]) -> None:
            self.docker.run("run", *options, name, "python3", *arguments, check=False)

        bytecode.ensure(CHECKOUT, SUITES[cluster.suite].python, run_python)

    def destroy(self, cluster: Cluster) -> None:
        """By label, so that it works on whatever is there, and without the compose file."""
        mine = f"label=com.docker.compose.project={project(cluster)}"
        deadline = time.monotonic() + REMOVAL_TIMEOUT_SECONDS
        while containers := self.docker.run("ps", "--all", "--quiet", "--filter", mine).split():
            try:
                self.docker.run("rm", "--force", "--volumes", *containers)
            except UserError:
                # Another `down` may be at work on the same ones.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        for kind in ("network", "volume"):
            things = self.docker.run(kind, "ls", "--quiet", "--filter", mine).split()
            if things:
                self.docker.run(kind, "rm", *things)
        self._give_back_files(cluster)

    def _give_back_files(self, cluster: Cluster) -> None:
        """Log files belong to users inside; without root here only a container removes them."""
        log = cluster.directory / "log"
        if os.geteuid() == 0 or not log.exists():
            return
        name = image.image_name(cluster.suite)
        wipe = ["sh", "-c", "find /log -mindepth 1 -delete"]
        self.docker.run("run", "--rm", "--volume", f"{log}:/log", name, *wipe, check=False)

    def kill_host(self, cluster: Cluster, host: str) -> None:
        self.docker.run("kill", container(cluster, host))

    def start_host(self, cluster: Cluster, host: str) -> None:
        self.docker.run("start", container(cluster, host))

    def is_up(self, cluster: Cluster, host: str) -> bool:
        state = self.docker.run(
            "inspect", "--format", "{{.State.Running}}", container(cluster, host), check=False
        )
        return state.strip() == "true"

    def invocation(
        self, cluster: Cluster, host: str, user: str, command: list[str], *, terminal: bool
    ) -> Invocation:
        home = "/root" if user == "root" else f"/shared/home/{user}"
        options = ["--interactive", "--user", user, "--workdir", home]
        if terminal:
            options += ["--tty", "--env", f"TERM={os.environ.get('TERM', 'xterm')}"]
        for variable in ("USER", "LOGNAME"):
            options += ["--env", f"{variable}={user}"]
        return Invocation(
            ["docker", "exec", *options, container(cluster, host), *command],
            self.docker.environment,
        )

    def _compose(self, cluster: Cluster, *arguments: str) -> None:
        files = [DOCKER_DIR / "compose.yaml", cluster.directory / "compose.json"]
        environment = json.loads((cluster.directory / "compose.env.json").read_text())
        self.docker.compose(files, project(cluster), environment, *arguments)

    def _write_compose(self, cluster: Cluster, subnet: Network) -> None:
        addresses = {
            host: str(subnet.network_address + 10 + i) for i, host in enumerate(cluster.hosts)
        }
        services: dict[str, dict[str, object]] = {}
        for host, address in addresses.items():
            service: dict[str, object] = {
                "container_name": container(cluster, host),
                "hostname": host,
                "environment": {"MINISLURM_HOST": host, "MINISLURM_NAME": cluster.name},
                # Names resolve while a host is dead too, and after it got up again.
                "extra_hosts": [f"{name}:{where}" for name, where in addresses.items()],
                "networks": {"cluster": {"ipv4_address": address}},
            }
            if host in cluster.node_names:
                extends = {"file": str(DOCKER_DIR / "compose.yaml"), "service": "login"}
                service["extends"] = extends
            services[host] = service
        compose: dict[str, object] = {"services": services}
        if variants.has_small_disks(cluster):
            services["ctl"]["volumes"] = [f"daemon:{PATHS['ef_lib']}"]
            compose["volumes"] = dict.fromkeys(("shared", "daemon"), SMALL_DISK)
        write_json(cluster.directory / "compose.json", compose)
        environment = {
            "MINISLURM_IMAGE": image.image_name(cluster.suite),
            "MINISLURM_CHECKOUT": str(CHECKOUT),
            "MINISLURM_STATE": str(cluster.directory),
            "MINISLURM_SUBNET": str(subnet),
        }
        write_json(cluster.directory / "compose.env.json", environment)

    def _free_subnets(self) -> list[Network]:
        taken = host_routes()
        for network in self.docker.run("network", "ls", "--quiet").split():
            found = self.docker.run("network", "inspect", network, check=False)
            for entry in json.loads(found or "[]"):
                for config in (entry.get("IPAM") or {}).get("Config") or []:
                    taken.append(ipaddress.ip_network(config["Subnet"], strict=False))
        free = [
            subnet
            for subnet in SUBNETS.subnets(new_prefix=24)
            if not any(subnet.overlaps(other) for other in taken if other.version == 4)
        ]
        if not free:
            say(f"every subnet of {SUBNETS} is in use")
        return free


def project(cluster: Cluster) -> str:
    return f"minislurm-{cluster.name}"


def container(cluster: Cluster, host: str) -> str:
    return f"minislurm-{cluster.name}-{host}"


def write_json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n")


def host_routes() -> list[Network]:
    """Networks that this host reaches other than by its default route."""
    table = Path("/proc/net/route")
    networks: list[Network] = []
    if not table.exists():
        return networks
    for line in table.read_text().splitlines()[1:]:
        fields = line.split()
        # The kernel prints addresses as little-endian hexadecimal.
        address, mask = (ipaddress.IPv4Address(bytes.fromhex(fields[i])[::-1]) for i in (1, 7))
        if int(mask):
            networks.append(ipaddress.ip_network(f"{address}/{mask}"))
    return networks
