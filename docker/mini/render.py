"""Fills in the configuration templates of docker/slurm/, for both engines."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from string import Template

from mini import variants
from mini.settings import CHECKOUT, DOCKER_DIR, USERS, Cluster

JOB_SUBMIT = CHECKOUT / "site-config" / "slurm" / "job_submit.lua"


@dataclass(frozen=True)
class Wiring:
    """How an engine lays out the hosts of a cluster.

    Attributes:
        ctl_host: value of SlurmctldHost.
        dbd_host: name of the host with slurmdbd.
        node_addresses: of each node, what its line of slurm.conf says of where it is.
        cgroup_plugin: see `settings.Suite`.
        hosts: the daemons of each host, in starting order.
        paths: directories and files by name, as seen on the hosts.
        ports: TCP ports by daemon.
        gpu_device: device file of a GPU, without its number.
    """

    ctl_host: str
    dbd_host: str
    node_addresses: dict[str, str]
    cgroup_plugin: str
    hosts: dict[str, list[str]]
    paths: dict[str, str]
    ports: dict[str, int]
    gpu_device: str


def index_range(count: int, first: int = 0) -> str:
    """`[0-3]` for four of something, `0` for one."""
    return f"[{first}-{first + count - 1}]" if count > 1 else str(first)


def write_files(cluster: Cluster, wiring: Wiring) -> None:
    """Write the cluster's conf/, secret/, guest/ and log/ directories.

    conf/ is what every host sees as /etc/slurm; secret/ is for root alone.
    """
    base = cluster.directory
    for name in ("conf", "guest", "log"):
        (base / name).mkdir()
    # Daemons run as different users.
    (base / "log").chmod(0o1777)
    (base / "secret").mkdir(mode=0o700)
    values = template_values(cluster, wiring)
    for name in ("slurm.conf", "gres.conf", "cgroup.conf"):
        (base / "conf" / name).write_text(fill(name, values))
    if variants.power_saving_nodes(cluster):
        for name in variants.PROGRAMS:
            program = base / "conf" / name
            program.write_text(fill(f"variants/{name}", values))
            program.chmod(0o755)
    if JOB_SUBMIT.exists():
        (base / "conf" / "job_submit.lua").write_bytes(JOB_SUBMIT.read_bytes())
    write_secrets(base / "secret", values)
    layout = {
        "cluster": cluster.name,
        "engine": cluster.engine,
        "hosts": wiring.hosts,
        "users": list(USERS),
        "paths": wiring.paths,
        "ports": wiring.ports,
        "dbd_host": wiring.dbd_host if cluster.accounting else "",
        "gpu_files": [f"{wiring.gpu_device}{i}" for i in range(variants.most_gpus(cluster))],
        "power_saving": variants.power_saving_nodes(cluster),
    }
    (base / "guest" / "layout.json").write_text(json.dumps(layout, indent=2) + "\n")


def write_secrets(directory: Path, values: dict[str, str]) -> None:
    (directory / "munge.key").write_bytes(secrets.token_bytes(128))
    (directory / "slurmdbd.conf").write_text(fill("slurmdbd.conf", values))
    password = values["mariadb_password"]
    (directory / "init.sql").write_text(
        "CREATE DATABASE IF NOT EXISTS slurm_acct_db;\n"
        f"CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';\n"
    )


def template_values(cluster: Cluster, wiring: Wiring) -> dict[str, str]:
    node_list = f"n{index_range(cluster.nodes, 1)}"
    values = {
        "cluster": cluster.name,
        "ctl_host": wiring.ctl_host,
        "dbd_host": wiring.dbd_host,
        "munge_socket": wiring.paths["munge_socket"],
        "lib_dir": wiring.paths["lib"],
        "run_dir": wiring.paths["run"],
        "log_dir": wiring.paths["log"],
        "conf_dir": wiring.paths["conf"],
        "power_dir": f"{wiring.paths['shared']}/power",
        "node_list": node_list,
        "cgroup_plugin": wiring.cgroup_plugin,
        "mariadb_password": secrets.token_hex(16),
    } | {f"{name}_port": str(port) for name, port in wiring.ports.items()}
    values |= node_values(cluster, wiring)
    values["accounting"] = fill(
        "accounting.conf" if cluster.accounting else "no-accounting.conf", values
    )
    values["variants"] = "".join(
        fill(f"variants/{name}.conf", values)
        for name in cluster.variants
        if (variants.CONF_DIR / f"{name}.conf").exists()
    )
    values["job_submit"] = fill("job_submit.conf", values) if JOB_SUBMIT.exists() else ""
    return values


def node_values(cluster: Cluster, wiring: Wiring) -> dict[str, str]:
    """The nodes and what Slurm is to count of them: the part that variants change."""
    nodes, gres = [], []
    for name, gpus in zip(cluster.node_names, variants.gpus_of_nodes(cluster), strict=True):
        address = wiring.node_addresses[name]
        nodes.append(f"NodeName={name} {address} Gres={variants.gres_words(gpus)}")
        first = 0
        for gpu_type, count in gpus:
            kind = f" Type={gpu_type}" if gpu_type else ""
            files = f"{wiring.gpu_device}{index_range(count, first)}"
            gres.append(f"NodeName={name} Name=gpu{kind} File={files}")
            first += count
    chosen = variants.chosen(cluster)
    saving = variants.power_saving_nodes(cluster)
    return {
        "node_lines": "\n".join(nodes),
        "gres_lines": "\n".join(gres),
        "node": next(filter(None, (one.node for one in chosen)), variants.NODE),
        "select": next(filter(None, (one.select for one in chosen)), "CR_Core"),
        "ef_partition": " ".join(one.partition for one in chosen if one.partition)
        or "MaxTime=INFINITE",
        "always_on": ",".join(name for name in cluster.node_names if name not in saving),
    }


def fill(template: str, values: dict[str, str]) -> str:
    return Template((DOCKER_DIR / "slurm" / template).read_text()).substitute(values)
