"""Whether [web] shows the page to those only for whom somebody answers."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from ef_slurm.siteconfig.errors import SiteConfigError
from ef_slurm.siteconfig.tables import WebTable

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_OTHERS_FIELDS = frozenset({"host", "authorization", "cookie", "origin", "content-length"})


def check_web(path: Path, web: WebTable) -> None:
    """Refuse a page that strangers could see, or a proxy that anybody could be.

    Raises:
        SiteConfigError: it would be; it names the line to write.
    """
    for number, name in enumerate(web.names):
        if not _NAME.fullmatch(name):
            told = f"{name!r} is no name of a host: give it without https:// and port"
            raise SiteConfigError(path, f"web.names[{number}]", told)
    for number, text in enumerate(web.proxies):
        _check_proxy(path, f"web.proxies[{number}]", text)
    if web.host and not is_loopback(web.host) and not web.proxies:
        raise SiteConfigError(
            path,
            "web.host",
            f'{web.host!r} can be reached from other hosts: give "127.0.0.1", or name the '
            "site's proxy, which asks people who they are, in web.proxies",
        )
    header = web.user_header
    if header and (not _HEADER.fullmatch(header) or header.lower() in _OTHERS_FIELDS):
        told = f'{header!r} is no field for a user\'s name: "X-Remote-User" would be'
        raise SiteConfigError(path, "web.user_header", told)
    if header and not (web.proxy_user or web.proxies):
        raise SiteConfigError(
            path,
            "web.user_header",
            "anybody could write it: name whom it is believed of, in web.proxy_user (a user whose "
            "proxy connects to the UNIX socket) or web.proxies",
        )
    if (web.proxy_user or web.proxies) and not header:
        key = "web.proxy_user" if web.proxy_user else "web.proxies"
        raise SiteConfigError(path, key, 'write user_header = "X-Remote-User" with it')


def _check_proxy(path: Path, key: str, text: str) -> None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise SiteConfigError(path, key, f"{text!r} is no address: 192.0.2.7 would be") from None
    if address.is_loopback:
        raise SiteConfigError(
            path,
            key,
            f"{text}: everybody on this host comes from there. Let the proxy connect to the UNIX "
            "socket, and name its user in web.proxy_user",
        )


def is_loopback(host: str) -> bool:
    """Whether only this host's own users reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
