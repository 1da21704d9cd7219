"""Keys of a file that people wrote: set one by one, with everything else as it was."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.installation.steps import InstallationError
from ef_slurm.installation.toml_edit import set_keys
from ef_slurm.resources import site_config_dir

EXAMPLE = (site_config_dir() / "ef-slurm.toml").read_text(encoding="utf-8")
KEYS = {
    ("daemon", "serves"): "everyone",
    ("queue", "path"): "/var/lib/ef-slurm/queue.sqlite",
    ("jobs", "order_root"): "/shared/orders",
}


def test_of_the_example_only_these_lines_change() -> None:
    changed = set_keys(EXAMPLE, KEYS)
    before, after = EXAMPLE.splitlines(), changed.splitlines()
    assert len(before) == len(after)
    different = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert sorted(new for _, new in different) == [
        'order_root = "/shared/orders"',
        'path = "/var/lib/ef-slurm/queue.sqlite"',
        'serves = "everyone"',
    ]
    assert set_keys(changed, KEYS) == changed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '[a]\nk = "v"\n'),
        ("[b]\nk = 1\n", '[b]\nk = 1\n\n[a]\nk = "v"\n'),
        ("[a]\n[b]\nk = 1\n", '[a]\nk = "v"\n[b]\nk = 1\n'),
        ("[a] # table\nk = 'old' # why\n", '[a] # table\nk = "v" # why\n'),
        ("[ a ]\n  k=3\n", '[ a ]\n  k="v"\n'),
        ("[a]\n#k = 1\nkk = 2\n", '[a]\nk = "v"\n#k = 1\nkk = 2\n'),
        ("[a]\nx = '[a]'\nk = true\n", "[a]\nx = '[a]'\nk = \"v\"\n"),
        ("[a.b]\nk = 1\n[a]\nk = 2", '[a.b]\nk = 1\n[a]\nk = "v"\n'),
    ],
)
def test_ways_to_write_a_table(text: str, expected: str) -> None:
    assert set_keys(text, {("a", "k"): "v"}) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a = { k = 'old' }\n",
        "a.k = 'old'\n",
        '[a]\nk = """\nold\n"""\n',
        "[a]\nk = [\n1,\n2]\n",
        '["a"]\nk = 1\n',
        "[a]\n'k' = 1\n",
        "[a]\nk = 'x # y'  # \"\n",
    ],
)
def test_what_only_a_person_can_change_is_said_and_never_spoilt(text: str) -> None:
    tomllib.loads(text)
    try:
        changed = set_keys(text, {("a", "k"): "v"})
    except InstallationError as error:
        assert '[a] k = "v"' in str(error)  # noqa: PT017 - either way is right
    else:
        assert tomllib.loads(changed) == {"a": {"k": "v"}}


@pytest.mark.parametrize("text", ["[a", "[a]\nk = 1\nk = 2\n", "a = 3\n"])
def test_what_is_no_table(text: str) -> None:
    with pytest.raises(InstallationError, match=r"is no T|is no table"):
        set_keys(text, {("a", "k"): "v"})


@given(st.text(alphabet="abk[]=\"'# \n.{}3,", max_size=60), st.text(max_size=8))
def test_whatever_is_there_either_the_key_alone_changes_or_nothing(text: str, value: str) -> None:
    try:
        before = tomllib.loads(text)
        changed = set_keys(text, {("a", "k"): value})
    except (tomllib.TOMLDecodeError, InstallationError):
        return
    before.setdefault("a", {})["k"] = value
    assert tomllib.loads(changed) == before
