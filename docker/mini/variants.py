"""Named variants of the mini-Slurm: what a cluster has that the plain one has not.

A variant is a line of `VARIANTS`, and, where it adds lines to slurm.conf, a template in
`docker/slurm/variants/`. Variants can be combined, but for what only one of them may say.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mini.settings import DOCKER_DIR, Cluster, UserError

Gpus = tuple[tuple[str, int], ...]
"""The GPUs of a node: types as gres.conf names them ("" for none), and how many of each."""

NODE = "CPUs=64 Boards=1 SocketsPerBoard=2 CoresPerSocket=32 ThreadsPerCore=1 RealMemory=256000"
THREADED_NODE = (
    "CPUs=64 Boards=1 SocketsPerBoard=2 CoresPerSocket=16 ThreadsPerCore=2 RealMemory=250000"
)
CONF_DIR = DOCKER_DIR / "slurm" / "variants"
PROGRAMS = ("suspend", "resume")


def _no_kinds(gpus: int) -> tuple[Gpus, ...]:  # noqa: ARG001
    return ()


@dataclass(frozen=True)
class Variant:
    """What a variant is.

    Attributes:
        summary: for `--help`.
        node: what slurm.conf says of a node's hardware; "" for the plain one.
        select: value of SelectTypeParameters; "" for the plain one.
        partition: further words of the line of ef-slurm's partition.
        kinds: kinds of nodes, by GPUs of a node; the nodes of the cluster are dealt out among
            those of all its variants, neighbours to the same kind. None: nodes as ever.
        accounts: shell commands, run as root once the accounts are made (needs accounting).
        needs_accounting: whether it is nothing without.
        power_saving: whether slurmctld switches nodes off and on.
        small_disks: whether the shared directory and the daemon's are file systems of their own
            that can be filled (docker engine only).
    """

    summary: str
    node: str = ""
    select: str = ""
    partition: str = ""
    kinds: Callable[[int], tuple[Gpus, ...]] = _no_kinds
    accounts: tuple[str, ...] = ()
    needs_accounting: bool = False
    power_saving: bool = False
    small_disks: bool = False


def _mixed(gpus: int) -> tuple[Gpus, ...]:
    half = max(1, gpus // 2)
    return (("a100", gpus),), (("3090", gpus),), (("a100", half), ("3090", half))


def _mig(gpus: int) -> tuple[Gpus, ...]:
    # Seven slices of one GPU beside others that are cut in halves, as NVIDIA's tool makes them.
    return (("3g.40gb", gpus),), (("3g.40gb", gpus), ("1g.10gb", 7))


VARIANTS = {
    "memory": Variant(
        "memory is given to jobs (CR_Core_Memory), nobody has a default of it, two threads a core",
        node=THREADED_NODE,
        select="CR_Core_Memory",
    ),
    "mixed-gpus": Variant(
        "nodes with a100, with 3090, and with both",
        kinds=_mixed,
    ),
    "powersave": Variant(
        "the last nodes (half of them) are switched off when idle, and on for a job",
        power_saving=True,
    ),
    "mig-names": Variant(
        "GPUs that are slices: 3g.40gb, and nodes with 3g.40gb and seven 1g.10gb",
        kinds=_mig,
    ),
    "limits": Variant(
        "limits of the partition, of a QOS named small, and two licences named solver",
        partition="MaxTime=02:00:00 MaxNodes=3 AllowQos=ALL",
        accounts=(
            "sacctmgr -i -Q add qos small GrpTRES=gres/gpu=4 MaxTRESPerUser=gres/gpu=2 >/dev/null",
            "sacctmgr -i -Q modify user user1,user2 set qos+=small >/dev/null",
        ),
        needs_accounting=True,
    ),
    "small-disks": Variant(
        "the shared directory and the daemon's are file systems of 128 MiB, to be filled by tests",
        small_disks=True,
    ),
}


def check_variants(words: Iterable[str]) -> tuple[str, ...]:
    """The variants that `--variant A,B --variant C` names, each once, in the table's order.

    Raises:
        UserError: one is unknown.
    """
    named = {part.strip() for word in words for part in word.split(",")}
    for name in sorted(named - set(VARIANTS)):
        raise UserError(f"--variant {name!r} is unknown: choose of {', '.join(VARIANTS)}")
    return tuple(name for name in VARIANTS if name in named)


def check_combination(cluster: Cluster) -> Cluster:
    """The cluster, if it is large enough for its variants.

    Raises:
        UserError: it is not.
    """
    least = max(len(_kinds(cluster)), 2 if _saves_power(cluster) else 1)
    if cluster.nodes < least:
        raise UserError(
            f"--nodes {cluster.nodes}: --variant {','.join(cluster.variants)} needs {least}"
        )
    return cluster


def chosen(cluster: Cluster) -> list[Variant]:
    return [VARIANTS[name] for name in cluster.variants]


def _saves_power(cluster: Cluster) -> bool:
    return any(one.power_saving for one in chosen(cluster))


def _kinds(cluster: Cluster) -> list[Gpus]:
    return [kind for one in chosen(cluster) for kind in one.kinds(cluster.gpus_per_node)]


def gpus_of_nodes(cluster: Cluster) -> list[Gpus]:
    """The GPUs of each node, in order."""
    kinds = _kinds(cluster) or [(("", cluster.gpus_per_node),)]
    return [kinds[number * len(kinds) // cluster.nodes] for number in range(cluster.nodes)]


def most_gpus(cluster: Cluster) -> int:
    """GPUs of the node that has most."""
    return max(sum(count for _, count in gpus) for gpus in gpus_of_nodes(cluster))


def power_saving_nodes(cluster: Cluster) -> list[str]:
    """The nodes that are switched off when idle."""
    if not _saves_power(cluster):
        return []
    return cluster.node_names[(cluster.nodes + 1) // 2 :]


def has_small_disks(cluster: Cluster) -> bool:
    """Whether file systems of the cluster can be filled without filling this machine's."""
    return any(one.small_disks for one in chosen(cluster))


def gres_words(gpus: Gpus) -> str:
    """`gpu:a100:2,gpu:3090:2`: what the node's line of slurm.conf says."""
    return ",".join(":".join(filter(None, ("gpu", name, str(count)))) for name, count in gpus)


def account_commands(cluster: Cluster) -> list[str]:
    """What the variants do to the accounts once these are there."""
    return [command for one in chosen(cluster) for command in one.accounts]
