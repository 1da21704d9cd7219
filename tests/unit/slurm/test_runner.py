"""Running commands: what their failures mean. The commands are small scripts of the test's own."""

from pathlib import Path

import pytest

from ef_slurm.slurm.accounting_types import Accounting
from ef_slurm.slurm.commands.command_slurm import CommandSlurm
from ef_slurm.slurm.commands.runner import Runner, failure
from ef_slurm.slurm.errors import (
    NoSuchJobError,
    NotPermittedError,
    RefusedError,
    SlurmError,
    SlurmTimeoutError,
    SlurmUnavailableError,
    UnexpectedOutputError,
)
from ef_slurm.slurm.types import Submission


def command(directory: Path, name: str, body: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("slurm_load_jobs error: Invalid job id specified", NoSuchJobError),
        ("Access/permission denied for job 4", NotPermittedError),
        ("Invalid user id for job 4", NotPermittedError),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
         SlurmUnavailableError),
        ("sbatch: error: Munge encode failed: Failed to access \"/run/munge/x\"",
         SlurmUnavailableError),
        ("scontrol: error: Socket timed out on send/recv operation", SlurmTimeoutError),
        ("sbatch: error: Batch job submission failed: Invalid account", RefusedError),
        ("", RefusedError),
    ],
)  # fmt: skip
def test_what_slurm_says(said: str, kind: type[SlurmError]) -> None:
    error = failure(("scontrol", "show"), 1, "", said)
    assert type(error) is kind
    assert error.message


def test_messages_are_slurms_own_without_the_commands_name() -> None:
    said = "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed"
    assert failure(("sbatch",), 1, "", said).message == (
        "QOSMaxSubmitJobPerUserLimit; Batch job submission failed"
    )
    twice = "Invalid node name specified for job 4\nInvalid node name specified"
    assert failure(("scontrol",), 1, "", twice).message == "Invalid node name specified for job 4"
    assert failure(("scontrol",), 3, "", "").message == "scontrol exited 3"


def test_a_try_is_refused_in_the_words_of_a_submission() -> None:
    """As 24.11 wrote both."""
    tried = (
        "sbatch: error: QOSMaxGRESPerUser\nallocation failure: Job violates accounting/QOS policy"
    )
    said = (
        "sbatch: error: QOSMaxGRESPerUser\n"
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy"
    )
    words = "QOSMaxGRESPerUser; Job violates accounting/QOS policy"
    assert [failure(("sbatch",), 1, "", one).message for one in (tried, said)] == [words, words]


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ("echo 'sbatch: Job 4 to start at 2026-11-26T19:06:15 using 1 processors' >&2", ""),
        ("echo 'allocation failure: Invalid qos specification' >&2; exit 1", "Invalid qos"),
        # A reservation that has not begun: such a job is taken.
        ("echo 'allocation failure: Invalid time specified' >&2; exit 1", ""),
    ],
)
def test_sbatch_is_asked_whether_it_would_take_it(tmp_path: Path, body: str, refused: str) -> None:
    command(tmp_path, "sbatch", f'echo "$@" > {tmp_path}/words; cat > {tmp_path}/script; {body}')
    slurm = CommandSlurm(Runner(directory=tmp_path))
    submission = Submission("#!/bin/sh\n", ("--qos=x",))
    if refused:
        with pytest.raises(RefusedError, match=refused):
            slurm.test(submission)
    else:
        slurm.test(submission)
    assert (tmp_path / "words").read_text().split() == ["--qos=x", "--hold", "--test-only"]
    assert (tmp_path / "script").read_text() == "#!/bin/sh\n"


def test_accounting_is_not_asked_where_limits_are_only_recorded(tmp_path: Path) -> None:
    config = "SLURM_VERSION = 24.11.5; AccountingStorageEnforce = none".replace("; ", "\n")
    command(tmp_path, "scontrol", f"echo '{config}'")
    assert CommandSlurm(Runner(directory=tmp_path)).accounting(["ann"]) == Accounting()


def test_a_command_that_hangs(tmp_path: Path) -> None:
    command(tmp_path, "squeue", "sleep 60")
    slurm = CommandSlurm(Runner(timeout=0.2, directory=tmp_path))
    with pytest.raises(SlurmTimeoutError, match="squeue gave no answer"):
        slurm.observe()


def test_what_a_command_that_hangs_had_said(tmp_path: Path) -> None:
    command(tmp_path, "squeue", "echo 'squeue: error: Munge encode failed' >&2; exec sleep 60")
    slurm = CommandSlurm(Runner(timeout=0.5, directory=tmp_path))
    with pytest.raises(SlurmTimeoutError, match=r"within 0\.5 s: Munge encode failed"):
        slurm.observe()


def test_slurm_is_not_installed(tmp_path: Path) -> None:
    slurm = CommandSlurm(Runner(directory=tmp_path))
    with pytest.raises(SlurmUnavailableError, match="is Slurm installed"):
        slurm.configuration()


def test_the_callers_variables_do_not_change_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, "scontrol", 'test -z "$SLURM_TIMES" && test "$SLURM_TIME_FORMAT" = %s &&'
            ' test "$SLURM_CONF" = /x && echo "SLURM_VERSION = 24.11.5"')  # fmt: skip
    monkeypatch.setenv("SLURM_TIMES", "1")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    monkeypatch.setenv("SLURM_CONF", "/x")
    assert CommandSlurm(Runner(directory=tmp_path)).configuration().version == (24, 11, 5)


def test_submission(tmp_path: Path) -> None:
    command(tmp_path, "sbatch", 'cat > "$0.in"; echo "$@" > "$0.args"; echo hi >&2; echo "12;mini"')
    slurm = CommandSlurm(Runner(directory=tmp_path))
    answer = slurm.submit(Submission("#!/bin/sh\n", options=("-A", "a"), arguments=("x", "y z")))
    assert (answer.job_id, answer.cluster, answer.messages) == (12, "mini", "hi")
    assert (tmp_path / "sbatch.in").read_text() == "#!/bin/sh\n"
    assert (tmp_path / "sbatch.args").read_text() == "-A a --hold --parsable /dev/stdin x y z\n"


def test_an_answer_without_a_job_id(tmp_path: Path) -> None:
    command(tmp_path, "sbatch", "echo Submitted")
    with pytest.raises(UnexpectedOutputError):
        CommandSlurm(Runner(directory=tmp_path)).submit(Submission("#!/bin/sh\n"))


def test_a_full_tmp_does_not_keep_it_from_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(tmp_path, "scontrol", "pwd")
    runner = Runner(directory=tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    assert runner.query(("scontrol",)).stdout == "/\n"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = Path(runner.query(("scontrol",)).stdout.strip())
    assert own.parent == tmp_path
    assert not own.exists()


def test_a_carriage_return_in_somebodys_words_ends_no_line(tmp_path: Path) -> None:
    command(tmp_path, "scontrol", r"printf 'a\rb\r\n\377'")
    assert Runner(directory=tmp_path).query(("scontrol",)).stdout == "a\rb\r\n\ufffd"
