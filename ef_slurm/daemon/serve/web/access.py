"""Which browsers are answered, and as whom.

A browser asks for whoever sits before it, and also for whatever page that person has open: so what
another site's page asks for is refused, whether by another name for this host (DNS rebinding) or by
a request across sites.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ef_slurm.api.identity import Transport
from ef_slurm.api.messages import FailureCode
from ef_slurm.api.routes import PREFIX, RequestError, shown

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""As which a host calls itself, and a forwarded port is called."""
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::[0-9]{1,5})?")
_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@$-]{0,127}")
_READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Who may ask for the page, and how.

    Args:
        address: host and port that browsers, or a proxy, connect to; None for nowhere.
        names: that this host has in browsers, beside `LOCAL_NAMES`.
        user_header: in which a proxy names the user; "" for no proxy.
        proxy_uid: whose connections to the UNIX socket are the proxy's; None for nobody's.
        proxies: addresses of hosts whose TCP connections are.
    """

    address: tuple[str, int] | None = None
    names: frozenset[str] = frozenset()
    user_header: str = ""
    proxy_uid: int | None = None
    proxies: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end.

    Args:
        uid: as the kernel says; None over TCP.
        address: over TCP.
    """

    kind: Transport
    uid: int | None
    address: str


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom a page is made: a user by uid, or by the name that the proxy says; or nobody known.

    Args:
        key: who pays for the answer.
    """

    key: str | int
    uid: int | None = None
    name: str | None = None


def is_a_page(target: str) -> bool:
    """Whether a path is the page's; all others are the API's."""
    path = target.partition("?")[0]
    return path in ("/", "/web") or path.startswith("/web/")


def check_host(headers: Mapping[str, str], settings: WebSettings) -> None:
    """Refuse whoever calls this host by a name that is not its own.

    Raises:
        RequestError: a page of another site may have brought its own name here.
    """
    given = headers.get("Host")
    if given is None:
        return  # no browser leaves it out
    match = _HOST.fullmatch(given)
    name = "" if match is None else match[1].lower().rstrip(".")
    if name not in LOCAL_NAMES | settings.names:
        raise RequestError(
            FailureCode.DENIED,
            f"this ef-schedd is not called {shown(given)!r}: ask for localhost, or have it named "
            "in [web] names",
        )


def check_api(headers: Mapping[str, str], peer: Peer, settings: WebSettings) -> None:
    """Refuse requests to the API that a browser makes for a page, and a proxy's.

    Raises:
        RequestError: it is one.
    """
    if peer.uid is not None and peer.uid == settings.proxy_uid:
        raise RequestError(FailureCode.DENIED, f"a proxy asks for pages (/web/…), not for {PREFIX}")
    if "Origin" in headers or headers.get("Sec-Fetch-Site", "none") != "none":
        raise RequestError(FailureCode.DENIED, "the API is not for scripts of web pages")


def check_page(method: str, headers: Mapping[str, str]) -> None:
    """Refuse what changes something, and what another site's page asks for in the background.

    Raises:
        RequestError: it is such a request.
    """
    if method not in _READING:
        raise RequestError(
            FailureCode.NO_SUCH_METHOD, f"the page only shows: GET, not {shown(method)}"
        )
    site, mode = headers.get("Sec-Fetch-Site", "none"), headers.get("Sec-Fetch-Mode", "navigate")
    if site in ("cross-site", "same-site") and mode != "navigate":
        raise RequestError(FailureCode.DENIED, "another site's page asks for this")


def asker(peer: Peer, said: list[str], settings: WebSettings) -> Asker:
    """For whom a page is made.

    Args:
        said: the values of `settings.user_header`.

    Raises:
        RequestError: the address may not ask, or the proxy names nobody who could be meant.
    """
    if peer.kind is Transport.UNIX:
        assert peer.uid is not None
        if peer.uid != settings.proxy_uid:
            return Asker(peer.uid, uid=peer.uid)
        return _proxied("proxy", said, settings)
    if peer.address in settings.proxies:
        return _proxied(peer.address, said, settings)
    if not is_loopback(peer.address):
        raise RequestError(
            FailureCode.DENIED, f"{peer.address} is none of the site's proxies ([web] proxies)"
        )
    return Asker(f"web {peer.address}")


def _proxied(where: str, said: list[str], settings: WebSettings) -> Asker:
    if not said or said == [""]:
        return Asker(f"web {where}")
    if len(said) > 1 or not _USER.fullmatch(said[0]):
        raise RequestError(
            FailureCode.DENIED,
            f"the proxy's {settings.user_header} names no user: {shown(', '.join(said))!r}",
        )
    return Asker(f"web {where} {said[0]}", name=said[0])


def is_loopback(address: str) -> bool:
    """Whether an address is this host's own, which all its users share."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return address == "localhost"
