"""Generic resources as Slurm writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.gres import (
    GpuCount,
    Gres,
    GresError,
    format_gres,
    gpus_of,
    gpus_of_tres,
    held_gpus,
    parse_gres,
)

# A type must not look like a count where it is the last field, which it never is when printed.
TYPES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,12}", fullmatch=True).filter(
    lambda text: text.lower() != "no_consume"
)
NAMES = st.sampled_from(["gpu", "shard", "mps", "craynetwork", "bandwidth", "fs_disk"])
DETAILS = st.sampled_from(["", "S:0-1", "IDX:0,2-3", "CNT:4", "0/4,2/4", "IDX:N/A"])
ITEMS = st.builds(Gres, NAMES, st.just("") | TYPES, st.integers(0, 10**12), st.booleans(), DETAILS)


@given(st.lists(ITEMS, max_size=6))
def test_what_is_printed_is_read_again(items: list[Gres]) -> None:
    assert parse_gres(format_gres(items)) == tuple(items)


@given(st.lists(ITEMS, max_size=4), st.sampled_from(["gres:", "gres/", "GRES/", " gres: "]))
def test_prefix_spaces_and_letter_case_mean_nothing(items: list[Gres], prefix: str) -> None:
    text = " , ".join(
        prefix + format_gres([item]).replace(item.name, item.name.upper(), 1) for item in items
    )
    assert parse_gres(text) == tuple(items)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_gres(text)
    except GresError:
        return


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("(null)", ()),
        ("", ()),
        ("none", ()),
        ("craynetwork:4", ()),
        ("gpu", (GpuCount("", 1),)),
        ("gpu:4", (GpuCount("", 4),)),
        ("gpu:3090:4", (GpuCount("3090", 4),)),
        ("gpu:3090", (GpuCount("", 3090),)),
        ("gpu:2080ti:4(S:0-1)", (GpuCount("2080ti", 4),)),
        ("gpu:2080ti", (GpuCount("2080ti", 1),)),
        ("gpu:(null):4(S:0)", (GpuCount("", 4),)),
        ("gpu:(null)", (GpuCount("", 1),)),
        ("gpu:tesla:no_consume:4", (GpuCount("tesla", 4),)),
        ("gpu:no_consume:4", (GpuCount("", 4),)),
        ("gpu:1g.10gb:7", (GpuCount("1g.10gb", 7),)),
        ("gpu:a100_3g.20gb:2,gpu:a100:7", (GpuCount("a100_3g.20gb", 2), GpuCount("a100", 7))),
        ("gpu:a100:2,gpu:a100:2(S:1)", (GpuCount("a100", 4),)),
        ("GPU:A100:4, gpu:t4:1 ", (GpuCount("A100", 4), GpuCount("t4", 1))),
        ("gpu:2k", (GpuCount("", 2048),)),
        ("gpu:a100:0", ()),
        ("gpu:a100:4(S:0,1,3),mps:a100:400", (GpuCount("a100", 4),)),
        ("gres:gpu:a100:4", (GpuCount("a100", 4),)),
        ("gres/gpu=8", (GpuCount("", 8),)),
        ("gres/gpu:a100=8", (GpuCount("a100", 8),)),
        ("gres/gpu", (GpuCount("", 1),)),
        ("cpugpu:4", ()),
        (":4,x:y:z:4,gpu:1,lustre=1.5,a:(", (GpuCount("", 1),)),
    ],
)
def test_whole_gpus(text: str, gpus: tuple[GpuCount, ...]) -> None:
    assert gpus_of(parse_gres(text)) == gpus


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("cpu=8,mem=62.50G,node=1,billing=8,gres/gpu=4", (GpuCount("", 4),)),
        ("cpu=8,gres/gpu=4,gres/gpu:a100=4", (GpuCount("a100", 4),)),
        ("cpu=8,gres/gpu:a100=2,gres/gpu:3090=2", (GpuCount("a100", 2), GpuCount("3090", 2))),
        ("gres/gpu:a100=2,gres/gpu=3", (GpuCount("a100", 2), GpuCount("", 1))),
        ("license/gpu=8,bb/x=2,fs/lustre=4", ()),
        ("cpu=8,gres/shard=2", ()),
        ("cpu=2,energy=1.5K,vmem=2G,pages=0", ()),
    ],
)
def test_tres(text: str, gpus: tuple[GpuCount, ...]) -> None:
    assert gpus_of_tres(text) == gpus


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("gpu:a100:2(IDX:0-1),gpu:v100:1(IDX:2)", (GpuCount("a100", 2), GpuCount("v100", 1))),
        ("gpu:0(IDX:N/A),shard:tesla:3(3/8)", (GpuCount("tesla", 1),)),
        ("shard:5(1/4,4/4,0/4)", (GpuCount("", 2),)),
        ("mps:100", (GpuCount("", 1),)),
        ("shard:0", ()),
        ("craynetwork:1", ()),
    ],
)
def test_held(text: str, gpus: tuple[GpuCount, ...]) -> None:
    assert held_gpus(text) == gpus


@pytest.mark.parametrize("text", ["gpu:a:b:4", "gpu=four", "gpu:4:x(", "gres/gpu=1.5"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(GresError):
        parse_gres(text)
