"""What a host lacks of a service, and that nothing is done twice."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ef_slurm.installation import service, slurm_files, survey
from ef_slurm.installation.apply import apply
from ef_slurm.installation.service import Part, Wishes, plan_service
from ef_slurm.installation.steps import (
    InstallationError,
    MakeDirectory,
    Plan,
    RunCommand,
    WishError,
    WriteFile,
)
from ef_slurm.installation.survey import PACKAGED_UNITS, Host, Slurm, shipped
from ef_slurm.resources import site_config_dir
from ef_slurm.siteconfig.accounts import Account
from ef_slurm.siteconfig.reader import parse
from ef_slurm.siteconfig.tables import Serves
from ef_slurm.slurm.commands.accounting import AdminLevel
from ef_slurm.slurm.guard import REVISION, Guard
from ef_slurm.slurm.site_types import SlurmPartition

MakeSlurm = Callable[..., Slurm]
ME = Account.own().name
USER = "deadlines"
EXAMPLE = (site_config_dir() / "ef-slurm.toml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories of this test are as safe as root's."""
    monkeypatch.setattr(survey, "_refuse_unsafe", lambda _: None)
    monkeypatch.setattr(service, "LIBRARY", tmp_path / "lib")


def wishes(tmp_path: Path, *parts: Part, **changes: object) -> Wishes:
    chosen = Wishes(
        config=tmp_path / "etc" / "ef-slurm.toml",
        shared=tmp_path / "shared",
        user=ME,
        parts=frozenset(parts or Part),
    )
    return replace(chosen, **changes)  # type: ignore[arg-type]


def written(tmp_path: Path, host: Host, wanted: Wishes) -> str:
    (step,) = plan_service(wanted, host, None).steps
    assert isinstance(step, WriteFile)
    assert step.path == tmp_path / "etc" / "ef-slurm.toml"
    return step.text


def test_a_new_file_has_the_few_keys_and_is_a_service(tmp_path: Path, host: Host) -> None:
    text = written(tmp_path, host, wishes(tmp_path, Part.CONFIGURATION))
    config = parse(text, tmp_path / "x")
    assert config.daemon.serves is Serves.EVERYONE
    assert (config.daemon.user, config.daemon.host) == (ME, "ctl")
    assert config.socket == Path("/run/ef-slurm/ef-schedd.sock")
    assert config.queue.path == tmp_path / "lib" / "queue.sqlite"
    assert config.jobs.state_root == tmp_path / "shared/ef-slurm/jobs"
    assert config.order_root == tmp_path / "shared/ef-slurm/orders"


def test_the_copied_example_becomes_a_service_and_keeps_its_comments(
    tmp_path: Path, host: Host
) -> None:
    wanted = wishes(tmp_path, Part.CONFIGURATION)
    wanted.config.parent.mkdir()
    wanted.config.write_text(EXAMPLE)
    text = written(tmp_path, host, wanted)
    assert parse(text, wanted.config).daemon.serves is Serves.EVERYONE
    assert len(text.splitlines()) == len(EXAMPLE.splitlines())
    wanted.config.write_text(text)
    assert plan_service(wanted, host, None).steps == ()


def test_what_a_site_has_chosen_stays(tmp_path: Path, host: Host) -> None:
    wanted = wishes(tmp_path, Part.CONFIGURATION, shared=None, user=None)
    wanted.config.parent.mkdir()
    own = """
        slurm.partition = "gpu"
        [daemon]
        user = "root"
        host = "other"
        socket = "/run/x/y"
        [queue]
        path = "/srv/queue.sqlite"
        [jobs]
        state_root = "/lustre/jobs"
        """
    wanted.config.write_text(own)
    document = tomllib.loads(written(tmp_path, host, wanted))
    assert document["daemon"] == {
        "user": "root", "host": "other", "socket": "/run/x/y", "serves": "everyone",
    }  # fmt: skip
    assert document["jobs"] == {"state_root": "/lustre/jobs", "order_root": "/lustre/orders"}
    assert document["queue"] == {"path": "/srv/queue.sqlite"}


def test_without_a_shared_directory_there_is_no_service(tmp_path: Path, host: Host) -> None:
    with pytest.raises(WishError, match="--shared=DIRECTORY is missing"):
        plan_service(wishes(tmp_path, shared=None), host, None)


@pytest.mark.parametrize(
    ("option", "value", "key"),
    [
        ("user", "a b", "user"),
        ("user", '"] = true', "user"),
        ("partition", "ef,batch", "partition"),
        ("partition", "ef\nPartitionName=x", "partition"),
        ("host", "ctl; rm", "host"),
        ("shared", Path("/a b"), "state_root"),
        ("shared", Path("/a\nb"), "state_root"),
        ("shared", Path('/a"b'), "state_root"),
    ],
)
def test_what_would_spoil_a_file_is_refused(
    tmp_path: Path, host: Host, option: str, value: object, key: str
) -> None:
    with pytest.raises(WishError, match=rf"\] {key} = .*: give "):
        plan_service(wishes(tmp_path, **{option: value}), host, None)


def test_a_file_with_another_fault_is_named(tmp_path: Path, host: Host) -> None:
    wanted = wishes(tmp_path)
    wanted.config.parent.mkdir()
    wanted.config.write_text("[slurm]\npartitions = 'x'\n")
    with pytest.raises(InstallationError, match=r"slurm.partitions: .*did you mean 'partition'"):
        plan_service(wanted, host, None)


def test_directories_are_made_once(tmp_path: Path, host: Host) -> None:
    wanted = wishes(tmp_path, Part.DIRECTORIES)
    steps = plan_service(wanted, host, None).steps
    made = {step.path.name: step for step in steps if isinstance(step, MakeDirectory)}
    assert {name: step.mode for name, step in made.items()} == {
        "ef-slurm": 0o755, "lib": 0o700, "jobs": 0o3777, "orders": 0o711,
    }  # fmt: skip
    for step in steps:
        assert isinstance(step, MakeDirectory)
        apply(replace(step, owner=ME))
    assert (tmp_path / "shared/ef-slurm/jobs").stat().st_mode & 0o7777 == 0o3777
    assert plan_service(wanted, host, None).steps == ()
    (tmp_path / "shared/ef-slurm/jobs").chmod(0o755)
    (step,) = plan_service(wanted, host, None).steps
    assert "0755 → " in step.lines[0]


def test_nothing_is_made_where_somebody_else_could_move_it(
    tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    with pytest.raises(InstallationError, match="could take away what lies below"):
        plan_service(wishes(tmp_path, Part.DIRECTORIES), host, None)


def test_a_unit_has_the_sites_names_and_is_written_once(tmp_path: Path, host: Host) -> None:
    wanted = wishes(tmp_path, Part.UNIT)
    (step,) = plan_service(wanted, host, None).steps
    assert isinstance(step, WriteFile)
    assert f"\nUser={ME}\n" in step.text
    assert f"\nReadWritePaths=-{tmp_path}/shared/ef-slurm/orders" in step.text
    assert f"\nEnvironment=EF_SLURM_CONFIG={wanted.config}\n" in step.text
    assert "\nExecStart=/usr/bin/ef-schedd run\n" in step.text
    apply(step)
    assert plan_service(wanted, host, None).steps == ()
    step.path.write_text(step.text.replace("MemoryMax=8G", "MemoryMax=32G"))
    assert plan_service(wanted, host, None).steps == ()
    step.path.write_text(step.text.replace(f"User={ME}", "User=nobody"))
    assert len(plan_service(wanted, host, None).steps) == 1


def test_of_a_packaged_unit_only_what_differs_is_written(tmp_path: Path, host: Host) -> None:
    packaged = (site_config_dir() / "systemd" / "ef-schedd.service").read_text()
    (step,) = plan_service(
        wishes(tmp_path, Part.UNIT), replace(host, units={PACKAGED_UNITS[0]: packaged}), None
    ).steps
    assert isinstance(step, WriteFile)
    assert step.path == tmp_path / "systemd" / "ef-schedd.service.d" / "site.conf"
    assert "ExecStart" not in step.text
    assert f"User={ME}" in step.text


def test_an_account_that_is_not_there(tmp_path: Path, host: Host) -> None:
    (step,) = plan_service(wishes(tmp_path, Part.ACCOUNT), replace(host, accounts={}), None).steps
    assert isinstance(step, RunCommand)
    assert (step.command[0], step.command[-1]) == ("useradd", ME)


def slurm_part(tmp_path: Path, host: Host, found: Slurm, **changes: object) -> Plan:
    wanted = wishes(tmp_path, Part.SLURM, **{"user": USER, **changes})
    return plan_service(wanted, host, found)


def test_slurm_gets_operator_plugin_partition_last_of_all_slurm_conf(
    tmp_path: Path, host: Host, slurm: MakeSlurm
) -> None:
    plan = slurm_part(tmp_path, host, slurm())
    account, user, plugin, conf = plan.steps
    assert isinstance(account, RunCommand)
    assert account.command[2:4] == ("add", "account")
    assert isinstance(user, RunCommand)
    assert user.command[-1] == "adminlevel=operator"
    assert isinstance(plugin, WriteFile)
    assert plugin.path == tmp_path / "job_submit.lua"
    assert f'local SERVICE_USER = "{USER}"' in plugin.text
    assert isinstance(conf, WriteFile)
    assert conf.text.splitlines() == [
        "ClusterName=c",
        "JobSubmitPlugins=lua",
        "AccountingStoreFlags=job_comment",
        "PartitionName=ef Nodes=n[1-2] Default=NO State=UP DefaultTime=01:00:00 MaxTime=INFINITE"
        " DefCpuPerGPU=8 DefMemPerGPU=32000",
    ]
    assert plan.reconfigure
    assert plan.by_hand == ()


def test_what_slurm_has_is_left_alone(tmp_path: Path, host: Host, slurm: MakeSlurm) -> None:
    settings = dict(slurm().settings.settings, AccountingStoreFlags="job_comment,job_env")
    there = slurm(
        ("throttle", "lua"), "ef", settings=settings, guard=Guard.CURRENT, level=AdminLevel.OPERATOR
    )
    assert slurm_part(tmp_path, host, there) == Plan(())


def test_what_is_written_but_not_read_yet_asks_for_a_reconfiguration_only(
    tmp_path: Path, host: Host, slurm: MakeSlurm
) -> None:
    first = slurm_part(tmp_path, host, slurm(level=AdminLevel.OPERATOR))
    plugin, conf = (step for step in first.steps if isinstance(step, WriteFile))
    plan = slurm_part(
        tmp_path,
        host,
        slurm(level=AdminLevel.OPERATOR, conf_text=conf.text, plugin_text=plugin.text),
    )
    assert (plan.steps, plan.by_hand, plan.reconfigure) == ((), (), True)


def test_a_user_whom_accounting_knows_is_changed(
    tmp_path: Path, host: Host, slurm: MakeSlurm
) -> None:
    step = slurm_part(tmp_path, host, slurm(known=(True, False))).steps[0]
    assert isinstance(step, RunCommand)
    assert step.command == ("sacctmgr", "-i", "modify", "user", USER, "set", "adminlevel=operator")


def test_files_of_another_host_are_lines_to_add(
    tmp_path: Path, host: Host, slurm: MakeSlurm
) -> None:
    plan = slurm_part(tmp_path, host, slurm(conf_text=None, level=AdminLevel.OPERATOR))
    assert plan.steps == ()
    plugin, conf = plan.by_hand
    assert "job_submit.lua on the host of slurmctld" in plugin.where
    assert "JobSubmitPlugins=lua" in conf.lines
    assert any(line.startswith("PartitionName=ef Nodes=n[1-2]") for line in conf.lines)


def test_a_sites_own_plugin_is_kept_and_told_how_to_call_ours(
    tmp_path: Path, host: Host, slurm: MakeSlurm
) -> None:
    theirs = "function slurm_job_submit() return slurm.SUCCESS end\nreturn slurm.SUCCESS\n"
    plan = slurm_part(
        tmp_path, host, slurm(("lua",), "ef", plugin_text=theirs, level=AdminLevel.OPERATOR)
    )
    assert [step.path.name for step in plan.steps if isinstance(step, WriteFile)] == [
        "ef-slurm.lua",
        "slurm.conf",
    ]
    (told,) = plan.by_hand
    assert f'dofile("{tmp_path}/ef-slurm.lua")' in told.lines


def in_force(slurm: MakeSlurm, **changes: object) -> Slurm:
    """All is as setup wants it, but for what is given."""
    settings = dict(slurm().settings.settings, AccountingStoreFlags="job_comment")
    return slurm(("lua",), "ef", settings=settings, level=AdminLevel.OPERATOR, **changes)


def test_an_older_plugin_is_renewed_and_keeps_the_sites_names(
    tmp_path: Path, host: Host, slurm: MakeSlurm
) -> None:
    current = slurm_files.plugin_for(shipped("slurm/job_submit.lua"), "ef", USER)
    current = slurm_files.plugin_with(current, "night", USER)
    current = current.replace("local OPERATORS = {", 'local OPERATORS = { "ops",')
    current = current.replace('night"] = true }', 'night"] = true,\n}  -- both')
    older = current.replace(f"local REVISION = {REVISION}\n", "").replace("}  -- both", "}")
    assert older.count("night") == older.count('"ops"') == 1
    current = current.replace("}  -- both", "}")
    plan = slurm_part(tmp_path, host, in_force(slurm, plugin_text=older, guard=Guard.OLDER))
    (step,) = plan.steps
    assert isinstance(step, WriteFile)
    assert (step.path, step.before, step.text) == (tmp_path / "job_submit.lua", older, current)
    assert plan.by_hand == ()
    # Written, and not read by slurmctld yet.
    plan = slurm_part(tmp_path, host, in_force(slurm, plugin_text=current, guard=Guard.OLDER))
    assert (plan.steps, plan.by_hand, plan.reconfigure) == ((), (), True)


def test_an_older_plugin_whose_names_cannot_be_read_is_left_to_a_person(
    tmp_path: Path, host: Host, slurm: MakeSlurm
) -> None:
    current = shipped("slurm/job_submit.lua")
    older = current.replace(f"local REVISION = {REVISION}\n", "").replace(
        "local PARTITIONS", "PARTITIONS"
    )
    plan = slurm_part(tmp_path, host, in_force(slurm, plugin_text=older, guard=Guard.OLDER))
    assert plan.steps == ()
    (told,) = plan.by_hand
    assert told.where == str(tmp_path / "job_submit.lua")


def test_a_plugin_that_is_as_new_keeps_what_the_site_changed(
    tmp_path: Path, host: Host, slurm: MakeSlurm
) -> None:
    theirs = shipped("slurm/job_submit.lua") + "-- ours, too\n"
    plan = slurm_part(tmp_path, host, in_force(slurm, plugin_text=theirs, guard=Guard.UNKNOWN))
    (step,) = plan.steps
    assert isinstance(step, WriteFile)
    assert step.text == slurm_files.plugin_with(theirs, "ef", USER)
    assert step.text.endswith("-- ours, too\n")


def test_what_a_sites_own_plugin_calls_is_renewed_and_read(
    tmp_path: Path, host: Host, slurm: MakeSlurm
) -> None:
    current = slurm_files.plugin_for(shipped("slurm/job_submit.lua"), "ef", USER)
    older = current.replace(f"local REVISION = {REVISION}\n", "")
    there = in_force(slurm, plugin_text="-- theirs", called_text=older, guard=Guard.OLDER)
    plan = slurm_part(tmp_path, host, there)
    renewed, read = plan.steps
    assert isinstance(renewed, WriteFile)
    assert (renewed.path.name, renewed.text) == ("ef-slurm.lua", current)
    assert isinstance(read, RunCommand)
    assert read.command == ("touch", str(tmp_path / "job_submit.lua"))
    assert plan.by_hand == ()


def test_what_an_included_file_says_is_not_said_twice(
    tmp_path: Path, host: Host, slurm: MakeSlurm
) -> None:
    settings = dict(slurm().settings.settings, JobSubmitPlugins="throttle")
    plan = slurm_part(
        tmp_path, host, slurm(("throttle",), settings=settings, level=AdminLevel.OPERATOR)
    )
    assert [step.path.name for step in plan.steps if isinstance(step, WriteFile)] == [
        "job_submit.lua"
    ]
    (told,) = plan.by_hand
    assert "the files that it includes" in told.where


@pytest.mark.parametrize(
    ("nodes", "said"),
    [("n0", "no node with GPUs called n0"), ("n9", "it has n"), ("n[1-", "--nodes=n[1-")],
)
def test_a_partition_of_nodes_that_cannot_be(
    tmp_path: Path, host: Host, slurm: MakeSlurm, nodes: str, said: str
) -> None:
    with pytest.raises(InstallationError) as error:
        slurm_part(tmp_path, host, slurm(), nodes=nodes)
    assert said in str(error.value)


def test_a_partition_of_chosen_nodes(tmp_path: Path, host: Host, slurm: MakeSlurm) -> None:
    found = slurm(partitions=(SlurmPartition("ef2", True, ()),))
    conf = slurm_part(tmp_path, host, found, nodes="n1", partition="gpus").steps[-1]
    assert isinstance(conf, WriteFile)
    assert "PartitionName=gpus Nodes=n1 " in conf.text
    assert "DefCpuPerGPU=16 DefMemPerGPU=64000" in conf.text


def test_without_accounting_there_is_no_operator_to_make(
    tmp_path: Path, host: Host, slurm: MakeSlurm
) -> None:
    settings = {"AccountingStorageType": "accounting_storage/none", "SlurmUser": "slurm(1)"}
    plan = slurm_part(tmp_path, host, slurm(level=None, settings=settings))
    assert "sacctmgr" in plan.by_hand[0].lines[0]
    assert "AccountingStoreFlags" not in "".join(
        step.text for step in plan.steps if isinstance(step, WriteFile)
    )
    theirs = dict(settings, SlurmUser=f"{USER}(1)")
    assert slurm_part(tmp_path, host, slurm(level=None, settings=theirs)).by_hand == ()
