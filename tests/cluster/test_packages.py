"""The Debian packages: built, installed on plain Debian and on a cluster, used, and purged.

CI installs them where all that they need is there already, as the mini-Slurm's image has it; what
apt-get would bring is fetched with EF_LONG=1.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mini import image
from mini.client import MiniSlurm, wait_until
from mini.release import SUITE, packages
from mini.sandbox import Sandbox, sandbox
from mini.site import Site

from tests.cluster.package_hosts import HOSTS, by_packages, deb, put

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]
LONG = bool(os.environ.get("EF_LONG"))
# A minute on a machine of its own; most of it is what apt-get installs, from a mirror each time.
with_a_mirror = pytest.mark.skipif(not LONG, reason="needs a mirror of Debian: EF_LONG=1")

COMMANDS = {
    "ef-slurm": ("ef-sbatch", "ef-squeue", "ef-scancel", "ef-scontrol", "ef-profile"),
    "ef-schedd": ("ef-schedd",),
    "ef-sim": ("ef-sim",),
}
NUMBERS = "--iterations=1 --global-batch-size=1 --throughput=1:1"
HEAVY = ("python3-numpy", "python3-scipy", "python3-aiohttp", "sqlite-utils", "python3-torch")
OURS = "ef-slurm|ef_slurm|ef-schedd|ef-sim"


@pytest.fixture(scope="module")
def built(running_cluster: MiniSlurm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the packages, built now."""
    if running_cluster.engine != "docker":
        pytest.skip("packages are built and tried in containers")
    if running_cluster.suite != SUITE:
        pytest.skip(f"packages are for {SUITE}")
    directory = tmp_path_factory.mktemp("packages")
    packages(directory, lint=LONG)
    return directory


@pytest.fixture(scope="module")
def debian(built: Path) -> Iterator[Sandbox]:
    """Plain Debian with the packages at hand."""
    with sandbox(SUITE) as box:
        bring(built, box)
        must(box, "apt-get update -o Acquire::Retries=3")
        yield box


@pytest.fixture(scope="module")
def prepared(built: Path) -> Iterator[Sandbox]:
    """A host as the mini-Slurm's, which has what they need and nothing of ef-slurm."""
    with sandbox(SUITE, image.HOST) as box:
        bring(built, box)
        must(box, "userdel ef-slurm")
        yield box


def bring(built: Path, box: Sandbox) -> None:
    box.exec("mkdir", "/debs")
    for name in COMMANDS:
        box.copy_in(deb(built, name), "/debs")


def must(box: Sandbox, command: str) -> str:
    done = box.exec("sh", "-c", command, env={"DEBIAN_FRONTEND": "noninteractive"})
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def install(box: Sandbox, *names: str) -> None:
    files = " ".join(f"/debs/{name}_*_all.deb" for name in names)
    must(box, f"apt-get install -y -o Acquire::Retries=3 --no-install-recommends {files}")


def check_commands(box: Sandbox, package: str) -> None:
    """They are where people's shells look, say their version and help, and have manuals."""
    # Slim images leave manuals out when they unpack; the package has them.
    listed = must(box, f"dpkg -L {package}").split()
    version = must(box, f"dpkg-query -W -f '${{Version}}' {package}").partition("-")[0]
    for command in COMMANDS[package]:
        manual = 8 if command == "ef-schedd" else 1
        assert f"/usr/share/man/man{manual}/{command}.{manual}.gz" in listed
        assert f"/usr/share/bash-completion/completions/{command}" in listed
        assert f"/usr/share/zsh/vendor-completions/_{command}" in listed
        assert f"/usr/share/fish/vendor_completions.d/{command}.fish" in listed
        said = must(
            box, f"cd /var && command -v {command} && {command} --version && {command} --help"
        )
        place, shown, *helped = said.splitlines()
        assert (place, shown.split()[-1]) == (f"/usr/bin/{command}", version)
        assert "usage:" in "\n".join(helped).lower()


def test_installed_used_upgraded_and_purged(prepared: Sandbox) -> None:
    """What CI holds of it; apt-get finds nothing to fetch."""
    must(prepared, "dpkg --install /debs/*.deb && apt-get check")
    for package in COMMANDS:
        check_commands(prepared, package)
    use(prepared)
    scripts = must(prepared, "cat /var/lib/dpkg/info/ef-schedd.postinst")
    assert "_dh_action=restart" in scripts, "an upgrade restarts what runs"
    scripts = must(prepared, "cat /var/lib/dpkg/info/ef-schedd.prerm")
    assert "deb-systemd-invoke stop" in scripts, "a removal stops it"
    run_for_a_while(prepared)
    purge(prepared)
    assert not must(prepared, "getent passwd ef-slurm || true")


@with_a_mirror
def test_plain_debian(debian: Sandbox) -> None:
    """In order, as an administrator would: login host, daemon's host, simulator, all of it gone."""
    install(debian, "ef-slurm")
    check_commands(debian, "ef-slurm")
    installed = must(debian, "dpkg-query -W -f '${Package}\n'").split()
    assert not set(HEAVY) & set(installed), "a login host needs none of these"
    script = must(debian, f"ef-sbatch --dry-run --best-effort {NUMBERS} --wrap=true")
    assert "#SBATCH --gres=gpu:1" in script
    install(debian, "ef-schedd")
    check_commands(debian, "ef-schedd")
    install(debian, "ef-sim")
    check_commands(debian, "ef-sim")
    use(debian)
    run_for_a_while(debian)
    purge(debian)
    assert not must(debian, "getent passwd ef-slurm || true")


def use(box: Sandbox) -> None:
    """Each command does something, on a host that nobody has configured."""
    script = must(box, f"ef-sbatch --dry-run --best-effort {NUMBERS} --wrap=true")
    assert "#SBATCH --gres=gpu:1" in script
    must(box, "test -e /usr/share/ef-slurm/templates/torchrun.sbatch.j2 -a -d /etc/ef-slurm")
    assert must(box, "stat -c '%U %G %a' /var/lib/ef-slurm") == "ef-slurm ef-slurm 700\n"
    assert int(must(box, "id -u ef-slurm")) < 1000
    must(box, "test -e /usr/lib/systemd/system/ef-schedd.service")
    assert not must(box, "find /etc/systemd -name 'ef-schedd*'"), "enabled before configured"
    checked = box.exec("ef-schedd", "check")
    assert checked.returncode == 1
    assert "ERROR" in checked.stdout
    assert "Traceback" not in checked.stderr
    cluster = "--nodes 2 --gpus-per-node 4"
    must(box, f"cd /tmp && ef-sim generate t.csv --jobs 5 && ef-sim run t.csv {cluster}")


def run_for_a_while(box: Sandbox) -> None:
    """What a service leaves, and what setting it up and enabling it makes; upgraded, removed."""
    must(
        box,
        "cp /usr/share/ef-slurm/site-config/ef-slurm.toml /etc/ef-slurm/"
        " && touch /var/lib/ef-slurm/queue.sqlite"
        " && mkdir -p /etc/systemd/system/ef-schedd.service.d"
        " && touch /etc/systemd/system/ef-schedd.service.d/site.conf"
        " && mkdir -p /etc/systemd/system/multi-user.target.wants"
        " && ln -s /usr/lib/systemd/system/ef-schedd.service"
        " /etc/systemd/system/multi-user.target.wants/",
    )
    kept = "test -e /etc/ef-slurm/ef-slurm.toml -a -e /var/lib/ef-slurm/queue.sqlite"
    must(box, f"dpkg --install /debs/*.deb && {kept}")
    must(box, f"apt-get remove -y ef-schedd && {kept}")


@with_a_mirror
def test_a_sites_own_user_stays(debian: Sandbox) -> None:
    must(debian, "useradd --uid 3003 --user-group --home-dir /home/ef ef-slurm")
    install(debian, "ef-slurm", "ef-schedd")
    assert must(debian, "id -u ef-slurm").strip() == "3003"
    assert must(debian, "stat -c %u /var/lib/ef-slurm").strip() == "3003"
    purge(debian)
    assert must(debian, "id -u ef-slurm").strip() == "3003"


def purge(box: Sandbox) -> None:
    """All packages; nothing may be left that has our name."""
    left = f"find / -xdev -path /debs -prune -o -print | grep -E '{OURS}' || true"
    assert "/etc/ef-slurm" in must(box, left).split()
    must(box, "apt-get purge -y ef-slurm ef-schedd ef-sim")
    assert not must(box, left)


@pytest.fixture
def with_packages(built: Path, cluster: MiniSlurm) -> Iterator[MiniSlurm]:
    """The cluster with the packages on login and ctl, where the checkout was installed."""
    with by_packages(cluster):
        for host in HOSTS:
            put(cluster, built, host)
        yield cluster


@with_a_mirror
def test_a_job_by_the_packages_alone(with_packages: MiniSlurm) -> None:
    cluster = with_packages

    def shell(
        command: str, *, user: str = "root", on: str = "ctl", stdin: str | None = None
    ) -> str:
        return cluster.output(command, user=user, on=on, stdin=stdin)

    for host in ("login", "ctl"):
        where = "python3 -c 'import ef_slurm; print(ef_slurm.__file__)'"
        assert shell(where, on=host).startswith("/usr/lib/python3/dist-packages/ef_slurm/")
    shell("python3 -c 'import ef_slurm.training'", on="login")  # with Debian's torch
    site = Site(shell)
    site.stop("KILL")
    site.prepare()
    try:
        pid = site.start()
        assert "/usr/bin/ef-schedd" in shell(f"tr '\\0' ' ' < /proc/{pid}/cmdline")
        pacer = f"{site.paths['checkout']}/tests/cluster/daemon_pacer.py --rates 1:10,2:18,4:32"
        job = int(
            shell(
                "ef-sbatch --parsable --deadline=+20m --iterations=100 --global-batch-size=32"
                f" --throughput=1:10,2:18,4:32 python3 {pacer}",
                user="user1",
                on="login",
            )
        )

        def ended() -> dict[str, object]:
            shown = json.loads(shell("ef-squeue -a --json", user="user1", on="login"))
            jobs = {row["job_id"]: row for row in shown["jobs"]}
            row: dict[str, object] = jobs[job]
            return row if row["state"] in ("completed", "failed", "cancelled") else {}

        row = wait_until("the job's end", ended, timeout=240, every=1)
        assert (row["state"], row["promise_outcome"]) == ("completed", "kept"), row
    finally:
        site.stop()
