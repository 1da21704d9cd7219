"""[web]: who may see the page, and whose word on that counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ef_slurm.siteconfig.errors import SiteConfigError
from ef_slurm.siteconfig.reader import parse

PROXY = 'user_header = "X-Remote-User"'


@pytest.mark.parametrize(
    "text",
    [
        "",
        'host = "127.0.0.1"',
        'host = "::1"\nport = 8080',
        'host = "localhost"\nnames = ["ef.example.org", "[fd00::1]"]',
        f'{PROXY}\nproxy_user = "www-data"',
        f'host = "192.0.2.1"\n{PROXY}\nproxies = ["192.0.2.7", "2001:db8::7"]',
    ],
)
def test_what_may_be(text: str) -> None:
    parse(f"[web]\n{text}\n", Path("/etc/x.toml"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('host = "0.0.0.0"', "web.host: '0.0.0.0' can be reached from other hosts"),
        ('host = "192.0.2.1"', "web.host: '192.0.2.1' can be reached"),
        ('host = "::"', "web.host"),
        ('host = "login1"', "web.host"),
        (PROXY, "web.user_header: anybody could write it"),
        ('proxy_user = "www-data"', "web.proxy_user: write user_header"),
        (f'{PROXY}\nproxies = ["127.0.0.1"]', "web.proxies[0]: 127.0.0.1: everybody on this host"),
        (f'{PROXY}\nproxies = ["::1"]', "web.proxies[0]"),
        (f'{PROXY}\nproxies = ["proxy.example.org"]', "is no address"),
        ('user_header = "Host"\nproxy_user = "x"', "web.user_header"),
        ('user_header = "a b"\nproxy_user = "x"', "web.user_header"),
        ('names = ["https://ef.example.org"]', "web.names[0]"),
        ('names = ["ef.example.org:443"]', "web.names[0]"),
        ("port = 0", "web.port"),
        ("port = 65536", "web.port"),
        ("on = true", "web.on"),
    ],
)
def test_what_strangers_could_use_is_refused(text: str, told: str) -> None:
    with pytest.raises(SiteConfigError) as error:
        parse(f"[web]\n{text}\n", Path("/etc/x.toml"))
    assert told in str(error.value)
