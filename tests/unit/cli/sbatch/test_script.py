"""Scripts, batch scripts and commands."""

from pathlib import Path

import pytest

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.sbatch.script import directives, from_text, from_words, wrapped


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_python_script_runs_where_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "train me.py", "#EF --iterations=5\nimport torch\n")
    script = from_words([str(path), "--lr", "0.1"])
    assert script.torchrun
    assert script.command(Path("/state")) == (str(path), "--lr", "0.1")
    assert [option.where for option in script.options] == [f"{path}:1"]
    assert script.name == "train me.py"


def test_a_relative_script_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "train.py", "pass\n")
    monkeypatch.chdir(tmp_path)
    assert from_words(["train.py"]).words == (str(tmp_path / "train.py"),)


def test_a_batch_script_is_copied(tmp_path: Path) -> None:
    path = write(tmp_path / "job.sh", "#!/bin/sh\n#SBATCH -J x\ntrue\n")
    script = from_words([str(path), "a"])
    assert not script.torchrun
    assert script.text == path.read_text()
    assert script.command(Path("/state")) == ("/state/script", "a")


def test_a_command_on_the_path_runs_as_it_is() -> None:
    script = from_words(["sleep", "5"])
    assert not script.torchrun
    assert script.words[0].endswith("/sleep")
    assert script.text is None


def test_what_is_trained_is_named_by_the_script(tmp_path: Path) -> None:
    python = write(tmp_path / "train me.py", "import torch\n")
    batch = write(tmp_path / "bert.sh", "#!/bin/sh\ntrue\n")
    odd = write(tmp_path / "a\nb.py", "import torch\n")
    for words, name in (
        ([str(python), "--lr", "0.1"], "train me"),
        ([str(batch)], "bert"),
        (["sleep", str(python)], "train me"),
        ([str(odd)], "ab"),
        (["sleep", "5"], ""),  # nothing to know it by
    ):
        assert from_words(words).model_name == name
    assert wrapped("true").model_name == from_text("#!/bin/sh\n").model_name == ""


def test_wrap() -> None:
    assert wrapped("echo 1; echo 2").command(Path("/s")) == ("/bin/sh", "-c", "echo 1; echo 2")
    with pytest.raises(UsageError, match="nothing to run"):
        wrapped(" ")


def test_standard_input() -> None:
    script = from_text("#!/bin/sh\n#EF --iterations=3\ntrue\n")
    assert (script.name, script.options[0].where) == ("sbatch", "standard input:2")


@pytest.mark.parametrize("text", ["", "echo no shebang\n"])
def test_what_is_no_batch_script(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not look like a batch script"):
        from_text(text)
    with pytest.raises(UsageError, match="does not look like a batch script"):
        from_words([str(write(tmp_path / "job.sh", text))])


def test_missing_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unable to open file /no/such: No such file"):
        from_words(["/no/such"])
    with pytest.raises(UsageError, match="Is a directory"):
        from_words([str(tmp_path)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#EF --nope=1\n", "job:1: there is no option --nope"),
        ("#EF --gres=gpu:1\n", "job:1: there is no option --gres"),
        (
            "#SBATCH --deadline=+1h\n",
            "job:1: --deadline: write it on an #EF line: sbatch's own would have Slurm end the job",
        ),
        ("#EF --iterations=1 extra\n", "job:1: 'extra' is no option of #EF"),
        ("#EF --iterations='1\n", "job:1: #EF --iterations='1: No closing quotation"),
        ("#EF --json\n", "job:1: --json belongs on the command line"),
        ("true\n#EF --iterations=1\n", "job:2: an #EF line must stand before the first command"),
    ],
)
def test_wrong_directives(text: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        directives(text, "job")
    assert str(error.value) == message


@pytest.mark.parametrize(
    "line",
    ["#EF is the name of our group", "#EF", "#EF ---- data ----", "#EFFORT --nope", "#EF: --nope"],
)
def test_a_comment_that_begins_like_a_directive(line: str) -> None:
    text = f"#!/bin/sh\n{line}\n#EF --iterations=3\ntrue\n{line}\n"
    assert [option.value for option in directives(text, "job")] == ["3"]


def test_comments_of_a_python_script_are_comments(tmp_path: Path) -> None:
    text = "#EF --iterations=3\nimport torch\n#EF --nope: not ours\nx = 1\n    #EF --json\n"
    script = from_words([str(write(tmp_path / "train.py", text))])
    assert [option.value for option in script.options] == ["3"]


def test_a_form_feed_ends_no_line() -> None:
    assert directives("#!/bin/sh\n# a\x0c#EF --nope\n# \u2028#EF --nope\n", "job") == ()


@pytest.mark.parametrize(
    ("text", "line"),
    [("#!/bin/sh\r\ntrue\r\n", 1), ("#!/bin/sh\n#EF --iterations=1\ntrue\r\n", 3)],
)
def test_dos_line_breaks_are_refused_as_sbatch_does(text: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"standard input:{line}: .*DOS line breaks"):
        from_text(text)
    path = tmp_path / "job.sh"
    path.write_bytes(text.encode())
    with pytest.raises(UsageError, match=rf"job.sh:{line}: .*DOS line breaks"):
        from_words([str(path)])


def test_null_bytes_are_refused_as_sbatch_does() -> None:
    with pytest.raises(UsageError, match="null bytes"):
        from_text("#!/bin/sh\ntrue\0\n")


def test_a_python_script_may_have_dos_line_breaks(tmp_path: Path) -> None:
    """It is not submitted: Python reads it where it is."""
    path = tmp_path / "train.py"
    path.write_bytes(b"#EF --iterations=3\r\nprint(1)\r\n")
    assert from_words([str(path)]).options[0].value == "3"


@pytest.mark.parametrize(
    "line",
    [
        "#SBATCH --comment=" + "a" * 10_000_000,
        "#SBATCH " + "--requeue " * 500_000,
        "#EF --env='A=" + "b" * 10_000_000,
    ],
)
def test_a_line_of_any_length_is_refused_at_once(line: str) -> None:
    with pytest.raises(UsageError, match="job:2: [0-9]* characters: 65536 at most") as error:
        directives(f"#!/bin/sh\n{line}\n", "job")
    assert len(str(error.value)) < 200
