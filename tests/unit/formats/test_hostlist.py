"""Host lists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.hostlist import HostlistError, compress, expand


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        ("(null)", ()),
        ("n1", ("n1",)),
        ("n[1-3,5]", ("n1", "n2", "n3", "n5")),
        ("n[08-11]", ("n08", "n09", "n10", "n11")),
        ("n[001,3]", ("n001", "n3")),
        ("a1,b[1-2]-ib,c", ("a1", "b1-ib", "b2-ib", "c")),
        ("r[1-2]n[1-2]", ("r1n1", "r1n2", "r2n1", "r2n2")),
        ("n1,n1,n[1-2]", ("n1", "n2")),
        ("gpu.example.org", ("gpu.example.org",)),
        ("n1,", ("n1",)),
        ("n1,,n2", ("n1", "n2")),
        (",n1", ("n1",)),
        (",", ()),
        ("n1 n2", ("n1", "n2")),
        (" n1, n[2-3]\tn4\n", ("n1", "n2", "n3", "n4")),
        ("n[01-03]x[1-2]", ("n01x1", "n01x2", "n02x1", "n02x2", "n03x1", "n03x2")),
        ("n[1-03]", ("n1", "n2", "n3")),
        ("n[4-]", ("n4",)),
        ("[1-2]", ("1", "2")),
    ],
)
def test_expand(text: str, names: tuple[str, ...]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "n[1-3",
        "n1]",
        "n[[1]]",
        "n[a-b]",
        "n[3-1]",
        "n[]",
        "n[1,]",
        "n[1,,2]",
        "n[1, 3]",
        "n[1-2-3]",
        "n[1-999999]",
        "n[-1]",
        "n[1-60000],m[1-60000]",
        # Few names, which would be written out for ever.
        "n" + "[1,1]" * 40,
        "n" + "[1-90000]" * 10_000,
        "n[" + ",".join(["1-90000"] * 100) + "]",
        ",".join(["n[1-90000]"] * 100),
    ],
)
@pytest.mark.timeout(10)
def test_what_is_no_host_list(text: str) -> None:
    with pytest.raises(HostlistError, match="host list"):
        expand(text)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["n1"], "n1"),
        (["n1", "n2", "n4"], "n[1-2,4]"),
        (["n9", "n10"], "n[9-10]"),
        (["n09", "n10"], "n[09-10]"),
        (["n2", "n1"], "n[2,1]"),
        (["a1-ib", "a2-ib", "b1"], "a1-ib,a2-ib,b1"),
        (["r1n1", "r1n2", "r2n1"], "r1n[1-2],r2n1"),
    ],
)
def test_compress(names: list[str], text: str) -> None:
    assert compress(names) == text


node_names = st.from_regex(r"[a-z][a-z-]{0,3}[0-9]{0,4}(-ib)?", fullmatch=True)


@given(st.lists(node_names, unique=True))
def test_compress_then_expand_gives_the_names_back(names: list[str]) -> None:
    assert expand(compress(names)) == tuple(names)
