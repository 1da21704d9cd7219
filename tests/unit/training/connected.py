"""The ranks of one launch, all in this process, connected over TCP as ever."""

import secrets

from ef_slurm.training.links import Hub, Spoke
from ef_slurm.training.ranks import Ranks, wait_until


def connected(world: int) -> tuple[list[Ranks], Hub]:
    """Ranks, and the end to which all but the first are connected."""
    ranks = [Ranks(rank, world) for rank in range(world)]
    secret = secrets.token_bytes(32)
    hub = Hub("127.0.0.1", world, secret, ranks[0].receive)
    ranks[0].use(hub)
    for other in ranks[1:]:
        other.use(Spoke("127.0.0.1", hub.port, other.rank, secret, other.receive))
    assert wait_until(lambda: hub.complete)
    return ranks, hub
