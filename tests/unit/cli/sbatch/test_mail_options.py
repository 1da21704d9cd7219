"""`--mail-type` and `--mail-user`."""

import pytest

from ef_slurm.cli.sbatch.mail_options import parse_mail_types, parse_mail_user, sbatch_options
from ef_slurm.model import NoticeKind


@pytest.mark.parametrize(
    ("text", "ours", "slurms"),
    [
        ("END", (NoticeKind.END,), ()),
        ("begin,End,FAIL", (NoticeKind.BEGIN, NoticeKind.END, NoticeKind.FAIL), ()),
        ("PROMISED, AT_RISK", (NoticeKind.PROMISED, NoticeKind.AT_RISK), ()),
        ("at-risk,AT_RISK", (NoticeKind.AT_RISK,), ()),
        ("ALL", tuple(NoticeKind), ()),
        ("ALL,TIME_LIMIT_80", tuple(NoticeKind), ("TIME_LIMIT_80",)),
        ("NONE", (), ()),
        ("ARRAY_TASKS,KEPT", (NoticeKind.KEPT,), ()),
    ],
)
def test_types(text: str, ours: tuple[NoticeKind, ...], slurms: tuple[str, ...]) -> None:
    assert parse_mail_types(text) == (ours, slurms)


@pytest.mark.parametrize("text", ["", "END,", "everything", "END FAIL"])
def test_what_is_no_type(text: str) -> None:
    with pytest.raises(ValueError, match="is none of BEGIN, END, FAIL, REQUEUE, PROMISED"):
        parse_mail_types(text)


@pytest.mark.parametrize(
    "text", ["ann", "ann@example.org", "ann+gpu@a-b.example.org,bob", "a.b_c%d=e@x"]
)
def test_whom(text: str) -> None:
    assert parse_mail_user(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "-oQ/tmp", "ann,-v", "a b", "ann@", "@example.org", "ann@-x", "ann\nBcc: x", "a;b"),
        *("$(id)", "`id`", "|cat", "/tmp/x", "<ann@x>", "é@x", "a" * 65, "a,b,c,d,e,f", "ann,"),
    ],
)
def test_what_a_mail_program_might_take_for_something_else(text: str) -> None:
    with pytest.raises(ValueError, match="users or mail addresses, 5 at most"):
        parse_mail_user(text)


def test_what_is_slurms_to_tell_goes_to_sbatch() -> None:
    assert sbatch_options((), "ann") == ()
    assert sbatch_options(("TIME_LIMIT",), "") == ("--mail-type=TIME_LIMIT",)
    options = sbatch_options(("TIME_LIMIT", "STAGE_OUT"), "ann")
    assert options == ("--mail-type=TIME_LIMIT,STAGE_OUT", "--mail-user=ann")
