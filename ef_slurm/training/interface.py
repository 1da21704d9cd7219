"""The address at which the other ranks of this launch reach this host, and nobody else need to."""

import contextlib
import os
import socket
from collections.abc import Iterator

from ef_slurm import contract


def launch_address(beyond: bool = False) -> str:
    """The IP address of the interface that this launch uses; called on the first node.

    A launch on one host alone uses the loopback interface. Otherwise it is where the rendezvous is
    known to listen, or, where that name means loopback on this very host, the way to the other
    nodes.

    Args:
        beyond: whether ranks of other hosts may come to a launch on this one.

    Raises:
        OSError: none is found.
    """
    ranks, here = os.environ.get("WORLD_SIZE"), os.environ.get("LOCAL_WORLD_SIZE")
    if ranks is not None and ranks == here and not beyond:
        return "127.0.0.1"
    master = os.environ.get("MASTER_ADDR") or socket.gethostname()
    found = [*_addresses(master)]
    for address in found:
        if not _is_loopback(address) and _is_local(address):
            return address
    nodes = os.environ.get(contract.ENV_NODES, "").split(",")
    peers = [address for node in nodes[1:] if node for address in _addresses(node)]
    for address in [*peers, *found]:
        if not _is_loopback(address) and (way := _way_to(address)):
            return way
    if beyond:
        # Nobody knows yet from where they come: the address that this host is known by.
        found += [*_addresses(socket.gethostname())]
        for address in found:
            if not _is_loopback(address) and _is_local(address):
                return address
    for address in found:
        if _is_local(address):
            return address
    raise OSError(f"{master} is no address of this host, {socket.gethostname()}")


def _addresses(host: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for *_, place in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
            yield str(place[0])


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def _is_local(address: str) -> bool:
    try:
        with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _way_to(address: str) -> str:
    """The address of this host from which that one is reached; "" if it is not."""
    try:
        # Connecting a datagram socket sends nothing.
        with socket.socket(_family(address), socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""
