"""What sacctmgr prints."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ef_slurm.slurm.accounting_types import LimitSet, SlurmAssociation, SlurmQos
from ef_slurm.slurm.commands.accounting_limits import parse_tres, read_accounting
from ef_slurm.slurm.commands.runner import Result, Runner
from ef_slurm.slurm.errors import UnexpectedOutputError

# As 24.11 wrote them.
ACCOUNTS = """\
root||||normal|||||||
acct1|||root|normal||gres/gpu=8|5||||02:00:00
"""
USERS = "acct1|user1|||big,normal,small|big||||node=3|cpu=4|02:00:00\n"
DEFAULTS = "user1|acct1\n"
QOS = """\
normal|||||||||||00:30:00
small|DenyOnLimit,OverPartQOS|gres/gpu=6|9|gres/gpu=4|cpu=8|2|3|gres/gpu=2|mem=100G|gres/gpu=1|1-00:00:00
"""


class Sacctmgr(Runner):
    """Answers as slurmdbd did."""

    def __init__(self, **answers: str) -> None:
        super().__init__()
        object.__setattr__(self, "answers", answers)
        object.__setattr__(self, "asked", [])

    def query(self, command: Sequence[str], text: str = "") -> Result:  # noqa: ARG002
        self.asked.append(command)  # type: ignore[attr-defined]
        what = command[4]
        if what == "association":
            what = "accounts" if "user=" in command else "users"
        return Result(self.answers.get(what, ""), "")  # type: ignore[attr-defined]


def test_all_of_it() -> None:
    runner = Sacctmgr(accounts=ACCOUNTS, users=USERS, user=DEFAULTS, qos=QOS)
    found = read_accounting(runner, "c", ["user1"])
    assert found.default_accounts == {"user1": "acct1"}
    assert found.associations == (
        SlurmAssociation("root", qos=("normal",)),
        SlurmAssociation(
            "acct1",
            parent="root",
            qos=("normal",),
            limits=LimitSet(group={"gres/gpu": 8.0}, group_jobs=5, wall=7200.0),
        ),
        SlurmAssociation(
            "acct1",
            "user1",
            qos=("big", "normal", "small"),
            default_qos="big",
            limits=LimitSet(per_job={"node": 3.0}, per_node={"cpu": 4.0}, wall=7200.0),
        ),
    )
    assert found.qos == (
        SlurmQos("normal", LimitSet(wall=1800.0)),
        SlurmQos(
            "small",
            LimitSet(
                group={"gres/gpu": 6.0},
                group_jobs=9,
                per_user={"gres/gpu": 4.0},
                per_account={"cpu": 8.0},
                jobs_per_user=2,
                jobs_per_account=3,
                per_job={"gres/gpu": 2.0},
                per_node={"mem": 102400.0},
                least_per_job={"gres/gpu": 1.0},
                wall=86400.0,
            ),
            frozenset({"DenyOnLimit", "OverPartQOS"}),
        ),
    )


def test_users_are_asked_about_by_name_and_only_where_there_are_any() -> None:
    runner = Sacctmgr()
    read_accounting(runner, "c", ["b", "a"])
    words = [word for command in runner.asked for word in command]  # type: ignore[attr-defined]
    assert {"user=a,b", "name=a,b", "cluster=c", "user="} <= set(words)
    runner = Sacctmgr()
    read_accounting(runner, "", [])
    assert len(runner.asked) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("", {}),
        ("gres/gpu=0", {"gres/gpu": 0.0}),
        ("cpu=-1,node=3", {"node": 3.0}),
        ("mem=1000", {"mem": 1000.0}),
        ("mem=1T", {"mem": 1048576.0}),
        ("mem=512K", {"mem": 0.5}),
        ("gres/gpu:a100=2,license/matlab=1", {"gres/gpu:a100": 2.0, "license/matlab": 1.0}),
    ],
)
def test_tres(text: str, amounts: dict[str, float]) -> None:
    assert parse_tres(text) == amounts


def test_an_accounts_name_hides_no_limits_and_sets_none() -> None:
    """As 24.11 lets a coordinator call one below their own."""
    odd = "evil|c|||acct1|normal||gres/gpu=0|||||\n"
    found = read_accounting(Sacctmgr(accounts=ACCOUNTS + odd, user="ann|evil|c\n"), "c", ["ann"])
    assert [one.account for one in found.associations] == ["root", "acct1"]
    assert found.default_accounts == {}
    broken = "e||||||||||||\nacct1|||acct1|normal||gres/gpu=0|||||\n"
    with pytest.raises(UnexpectedOutputError, match="twice"):
        read_accounting(Sacctmgr(accounts=ACCOUNTS + broken), "c", [])


@pytest.mark.parametrize(
    "answers",
    [
        {"qos": "normal|x\n"},
        {"qos": "n||cpu=many|||||||||\n"},
        {"qos": "n|||some||||||||\n"},
        {"qos": "n|||||||||||soon\n"},
        {"accounts": "root\n"},
        {"users": "a|b|c\n"},
        {"user": "a\n"},
    ],
)
def test_what_is_not_understood_is_said(answers: dict[str, str]) -> None:
    with pytest.raises(UnexpectedOutputError, match="sacctmgr wrote"):
        read_accounting(Sacctmgr(**answers), "c", ["ann"])
