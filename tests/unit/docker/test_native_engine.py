"""Plain processes: which Slurm this host has."""

import platform

import pytest
from mini.native_engine import host_suite

RELEASES = {
    "bookworm": {
        "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)",
        "VERSION_CODENAME": "bookworm",
        "ID": "debian",
    },
    "sid": {
        "PRETTY_NAME": "Debian GNU/Linux forky/sid",
        "VERSION_CODENAME": "forky",
        "ID": "debian",
    },
    "noble": {
        "PRETTY_NAME": "Ubuntu 24.04 LTS",
        "VERSION_CODENAME": "noble",
        "ID": "ubuntu",
    },
    "arch": {"PRETTY_NAME": "Arch Linux", "ID": "arch"},
}
"""What os-release says on each."""


@pytest.mark.parametrize("suite", RELEASES)
def test_the_release_of_this_host(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: RELEASES[suite])
    assert host_suite() == suite
