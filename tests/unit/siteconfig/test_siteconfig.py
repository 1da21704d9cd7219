"""The site configuration: what is accepted, and how what is not is refused."""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from ef_slurm.model import ContainerRuntime, LaunchSettings, Limit, RiskOrder, StopSignal
from ef_slurm.resources import site_config_dir
from ef_slurm.siteconfig import SiteConfig, SiteConfigError, find, load
from ef_slurm.siteconfig.tables import Serves

EXAMPLE = site_config_dir() / "ef-slurm.toml"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "ef-slurm.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_lists_the_defaults() -> None:
    assert replace(load(EXAMPLE), path=None) == SiteConfig()


def test_the_example_leaves_no_key_out() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    tables = SiteConfig()
    for table in (
        "slurm",
        "nodes",
        "queue",
        "daemon",
        "metrics",
        "jobs",
        "launch",
        "timers",
        "notify",
        "limits",
    ):
        for key in type(getattr(tables, table)).__slots__:
            assert f"\n{key} = " in text, f"[{table}] {key}"
    for key in (*type(tables.policy).__slots__, *type(tables.overhead).__slots__):
        assert f"\n{key} = " in text, key


def test_what_is_not_given_keeps_its_default(tmp_path: Path) -> None:
    path = write(tmp_path, '[slurm]\npartition = "gpu"\n')
    config = load(path)
    assert config.slurm.partition == "gpu"
    assert config.timers == SiteConfig().timers
    assert config.path == path


def test_a_sites_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE", "/srv")
    monkeypatch.setenv("HOME", "/home/me")
    config = load(
        write(
            tmp_path,
            """
            [nodes]
            switches = ["n[1-8]", "n[9-16]"]
            [queue]
            path = "/var/lib/ef-slurm/queue.sqlite"
            [daemon]
            serves = "everyone"
            host = "ctl"
            [jobs]
            state_root = "$SITE/jobs"
            profiles = ["~/profiles"]
            [launch]
            template = "/etc/ef-slurm/site.sbatch.j2"
            venv = "~/venv"
            container_runtime = "pyxis"
            stop_signal = "URG"
            [launch.environment]
            NCCL_SOCKET_IFNAME = "ib0"
            [policy]
            risk_order = "most-promises"
            limits = [{ max_gpus = 32, account = "vision" }, { max_gpus = 16, owner = "alice" }]
            [overhead]
            start = 45
            [timers]
            tick = 2
            """,
        )
    )
    assert config.nodes.switches == ("n[1-8]", "n[9-16]")
    assert config.socket == Path("/var/lib/ef-slurm/ef-schedd.sock")
    assert config.daemon.serves is Serves.EVERYONE
    assert config.jobs.state_root == Path("/srv/jobs")
    assert config.jobs.profiles == (Path("/home/me/profiles"),)
    assert config.launch == LaunchSettings(
        template=Path("/etc/ef-slurm/site.sbatch.j2"),
        venv=Path("/home/me/venv"),
        container_runtime=ContainerRuntime.PYXIS,
        stop_signal=StopSignal.URG,
        environment={"NCCL_SOCKET_IFNAME": "ib0"},
    )
    assert config.policy.risk_order is RiskOrder.MOST_PROMISES
    assert config.policy.limits == (Limit(32, account="vision"), Limit(16, owner="alice"))
    assert config.overhead == replace(SiteConfig().overhead, start=45.0)
    assert config.timers.tick == 2.0


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("", {}),
        ("grow = 2\nshrink = 1.5", {"grow": 2.0, "shrink": 1.5}),
        ("reshape = 50", {"grow": 50.0, "move": 50.0, "restart": 50.0}),
        ("grow = 2\nreshape = 50", {"grow": 2.0, "move": 50.0, "restart": 50.0}),
        ("reshape = 0", {"grow": 0.0, "move": 0.0, "restart": 0.0}),
    ],
)
def test_costs_that_are_not_stated_are_the_usual_ones(
    tmp_path: Path, text: str, stated: dict[str, float]
) -> None:
    """A file of earlier versions has `reshape` for whatever takes a requeue."""
    config = load(write(tmp_path, f"[overhead]\n{text}\n"))
    assert config.overhead == replace(SiteConfig().overhead, **stated)


@pytest.mark.parametrize(
    ("text", "key", "why"),
    [
        ("[slrum]", "slrum", "unknown key: did you mean 'slurm'"),
        ("partition = 'ef'", "partition", "unknown key: valid ones are api, daemon"),
        ("path = '/etc/x'", "path", "unknown key: valid ones are api, daemon"),
        ("slurm = 3", "slurm", "expected keys and values, got 3"),
        ("[slurm]\npartitions = 'ef'", "slurm.partitions", "did you mean 'partition'"),
        ("[slurm]\nqwerty = 1", "slurm.qwerty", "valid ones are cluster"),
        ("[slurm]\npartition = ''", "slurm.partition", "expected a text that is not empty"),
        ("[slurm]\npartition = 3", "slurm.partition", "expected a text, got 3"),
        ("[slurm]\ntimeout = '10'", "slurm.timeout", "expected a number, got '10'"),
        ("[slurm]\ntimeout = 0", "slurm.timeout", "0 is not valid: give 1 or more"),
        ("[slurm]\ntimeout = true", "slurm.timeout", "expected a number, got true"),
        ("[slurm]\ntimeout = nan", "slurm.timeout", "expected a number, got nan"),
        ("[slurm]\ntimeout = 'inf'", "slurm.timeout", "inf is not valid: give 1 or more"),
        (f"[slurm]\ntimeout = {10**400}", "slurm.timeout", "number"),
        ("[slurm]\ntimeout = inf", "slurm.timeout", "expected a number, got inf"),
        ("[slurm]\ncommands = 'bin'", "slurm.commands", "an absolute path"),
        ("[daemon]\nport = 70000", "daemon.port", "1 or more, 65535 at most"),
        ("[daemon]\nport = 1.5", "daemon.port", "a whole number"),
        ("[daemon]\nserves = 'all'", "daemon.serves", "one of 'me', 'everyone'"),
        ("[queue]\nkeep_plans = 0", "queue.keep_plans", "1 or more"),
        ("[queue]\nkeep_ended_days = -1", "queue.keep_ended_days", "0 or more, 36600 at most"),
        ("[queue]\nkeep_ended_days = 1e308", "queue.keep_ended_days", "36600 at most"),
        ('[queue]\npath = "/a\\u0000b"', "queue.path", "without control characters"),
        ('[slurm]\npartition = "e\\u0000f"', "slurm.partition", "without control characters"),
        ('[daemon]\nhost = "a\\nb"', "daemon.host", "without control characters"),
        ("[timers]\nstalled = -1", "timers.stalled", "-1 is not valid: give 0 or more"),
        ("[timers]\nidle_tick = 1e10", "timers.idle_tick", "31622400 at most"),
        ("[slurm]\ntimeout = 1e308", "slurm.timeout", "31622400 at most"),
        ("[slurm]\npartition = 2026-01-01", "slurm.partition", "a text, got 2026-01-01"),
        ('[slurm]\n"\\u001b[31m" = 1', r"slurm.\x1b[31m", "unknown key"),
        (f"[slurm]\n{'x' * 999} = 1", f"slurm.{'x' * 60}…", "unknown key"),
        ("[nodes]\nswitches = 'n1'", "nodes.switches", "expected a list, got 'n1'"),
        ("[nodes]\nswitches = ['']", "nodes.switches[0]", "not empty"),
        ("[nodes]\nswitches = [1]", "nodes.switches[0]", "a text"),
        ("[policy]\nmin_speedup = 2", "policy", "a fraction"),
        ("[policy]\nbest_effort_grows = 1", "policy.best_effort_grows", "true or false"),
        ("[policy]\nlimits = [{ gpus = 3 }]", "policy.limits[0].gpus", "valid ones are account"),
        ("[policy]\nlimits = [{ owner = 'a' }]", "policy.limits[0]", "max_gpus"),
        ("[policy]\nlimits = [3]", "policy.limits[0]", "expected keys and values, got 3"),
        ("[policy]\nlimits = [{ max_gpus = -1 }]", "policy.limits[0]", "0 or more"),
        ("[launch]\nmodule = ['a']", "launch.module", "did you mean 'modules'"),
        ("[launch]\nmodules = 'a'", "launch.modules", "expected a list, got 'a'"),
        ("[launch]\nenvironment = []", "launch.environment", "expected keys and values"),
        ("[launch.environment]\nA = 1", "launch.environment.A", "expected a text, got 1"),
        ("[launch.environment]\n1A = '1'", "launch", "environment: '1A=1' is not valid: NAME="),
        ("[launch]\ntemplate = 'x.j2'", "launch.template", "an absolute path"),
        ("[launch]\nstop_signal = 'TERM'", "launch.stop_signal", "one of 'USR2', 'URG', 'ALRM'"),
        ("[launch]\ncontainer_runtime = 'x'", "launch.container_runtime", "one of 'apptainer',"),
        ("[launch]\ncontainer_image = 'x'", "launch", "container_image: 'x' is not valid: this"),
        ("[launch]\nconda_env = 'a'\nvenv = '/b'", "launch", "Python comes from one place"),
        ('[launch]\npython = "a\\u0000b"', "launch", "without control characters"),
        ("[launch]\nkeep_checkpoints = 0", "launch", "keep_checkpoints: 0 is not valid: 1 or more"),
        ("[overhead]\nstart = -1", "overhead.start", "-1 is not valid: give 0 or more"),
        ("[overhead]\nreshape = -1", "overhead.reshape", "-1 is not valid: give 0 or more"),
        ("[overhead]\nmove = 1e9", "overhead.move", "2592000 at most"),
        ("[overhead]\nmove = inf", "overhead.move", "inf is not valid: give 0 or more"),
        ('[overhead]\ngrow = "2"', "overhead.grow", "expected a number, got '2'"),
        ('[overhead]\nreshape = "2"', "overhead.reshape", "expected a number, got '2'"),
        ("[overhead]\nrestarts = 1", "overhead.restarts", "did you mean 'restart'"),
        ("overhead = 3", "overhead", "expected keys and values, got 3"),
        ("[timers]\nidle_tick = 0.5", "timers.idle_tick", "shorter than timers.tick"),
        ("[timers]\ntick = 0.2", "timers.tick", "shorter than slurm.query_interval"),
    ],
)  # fmt: skip
def test_wrong_keys_and_values_are_named(tmp_path: Path, text: str, key: str, why: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SiteConfigError) as error:
        load(path)
    assert error.value.key == key
    assert why in str(error.value)
    assert str(error.value).startswith(f"{path}: {key}: ")


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (table.name, one.name)
        for table in fields(SiteConfig)
        if is_dataclass(getattr(SiteConfig(), table.name))
        for one in fields(getattr(SiteConfig(), table.name))
        if type(getattr(getattr(SiteConfig(), table.name), one.name)) in (int, float)
    ],
)
def test_no_number_is_below_nought(tmp_path: Path, table: str, key: str) -> None:
    """-1 for "never" would be over at once: with `stalled`, for each job that trains."""
    with pytest.raises(SiteConfigError, match=f": {table}"):
        load(write(tmp_path, f"[{table}]\n{key} = -1\n"))


def test_what_is_no_toml(tmp_path: Path) -> None:
    path = write(tmp_path, "[slurm\n")
    with pytest.raises(SiteConfigError, match=r"is no TOML: .*line 1"):
        load(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SiteConfigError, match="is no TOML"):
        load(path)
    path.write_text(f"[queue]\nkeep_plans = {'9' * 5000}\n")
    with pytest.raises(SiteConfigError, match="is no TOML: .*4300 digits"):
        load(path)
    with pytest.raises(SiteConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_a_byte_order_mark_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "ef-slurm.toml"
    path.write_text("[slurm]\npartition = 'gpu'\n", encoding="utf-8-sig")
    assert load(path).slurm.partition == "gpu"


def test_where_it_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = write(tmp_path, "")
    assert find({"XDG_CONFIG_HOME": str(tmp_path)}, tmp_path / "none") == EXAMPLE
    assert find({"XDG_CONFIG_HOME": str(tmp_path)}, site) == site
    mine = tmp_path / "ef-slurm" / "ef-slurm.toml"
    mine.parent.mkdir()
    mine.touch()
    assert find({"XDG_CONFIG_HOME": str(tmp_path)}, site) == mine
    assert find({"EF_SLURM_CONFIG": str(site)}, tmp_path) == site
    with pytest.raises(SiteConfigError, match=r"no such file \(from \$EF_SLURM_CONFIG\)"):
        find({"EF_SLURM_CONFIG": str(tmp_path / "gone")})
    monkeypatch.setenv("EF_SLURM_CONFIG", str(site))
    assert load().path == site
