"""A service's places are one for all: a file that puts one into each user's home is refused."""

from pathlib import Path

import pytest

from ef_slurm.siteconfig import SiteConfigError, load
from ef_slurm.siteconfig.accounts import Account

GOOD = {
    "state_root": "/shared/jobs",
    "order_root": "/shared/orders",
    "socket": "/run/ef-slurm/x.sock",
    "host": "",
}


def text(**changes: str) -> str:
    values = GOOD | changes
    lines = {key: f'{key} = "{value}"\n' if value else "" for key, value in values.items()}
    return (
        f'[daemon]\nserves = "everyone"\n{lines["socket"]}{lines["host"]}'
        f"[jobs]\n{lines['state_root']}{lines['order_root']}"
        f"[queue]\n{lines.get('path', '')}"
    )


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, None),
        ({"state_root": ""}, "jobs.state_root"),
        ({"state_root": "~/jobs"}, "jobs.state_root"),
        ({"state_root": "~"}, "jobs.state_root"),
        ({"state_root": "$HOME/jobs"}, "jobs.state_root"),
        ({"state_root": "${HOME}/jobs"}, "jobs.state_root"),
        ({"state_root": "~root/jobs"}, None),
        ({"state_root": "/scratch/$USER/jobs"}, None),
        ({"state_root": "/scratch/$USER/jobs", "order_root": ""}, "jobs.order_root"),
        ({"order_root": ""}, None),
        ({"order_root": "~/orders"}, "jobs.order_root"),
        ({"order_root": "/scratch/$USER/orders"}, "jobs.order_root"),
        ({"socket": ""}, "daemon.socket"),
        ({"socket": "", "path": "/var/lib/x/queue.sqlite"}, None),
        ({"socket": "", "path": "~/queue.sqlite"}, "daemon.socket"),
        ({"socket": "$XDG_RUNTIME_DIR/x.sock"}, "daemon.socket"),
        ({"socket": "", "host": "ctl"}, None),
    ],
)
def test_places_of_a_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], key: str | None
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1234")
    monkeypatch.setenv("USER", "alice")
    path = tmp_path / "ef-slurm.toml"
    path.write_text(text(**changes))
    if key is None:
        load(path)
        return
    with pytest.raises(SiteConfigError) as error:
        load(path)
    assert error.value.key == key
    table, _, name = key.partition(".")
    assert f'write {name} = "/' in str(error.value)
    assert f"under [{table}]" in str(error.value)
    path.write_text(text(**changes).replace('"everyone"', '"me"'))
    load(path)


def test_mode_bits_decide_as_the_kernel_does(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.touch()
    found = path.stat()
    for uid, gids, mode, wanted, may in (
        (found.st_uid + 1, {found.st_gid}, 0o040, 4, True),
        (found.st_uid + 1, {found.st_gid}, 0o004, 4, False),
        (found.st_uid + 1, set(), 0o004, 4, True),
        (found.st_uid + 1, set(), 0o006, 6, True),
        (found.st_uid + 1, set(), 0o004, 6, False),
        (0, set(), 0o000, 6, True),
    ):
        path.chmod(mode)
        account = Account("x", uid, frozenset(gids))
        assert account.may(path.stat(), wanted) is may or found.st_uid + 1 == 0
