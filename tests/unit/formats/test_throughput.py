"""Throughput tables, curves in an option, and what the two mean by "cannot run"."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.formats.errors import FormatError, InputError
from ef_slurm.formats.throughput import (
    MOST_GPUS,
    ThroughputTables,
    parse_throughput,
    read_table,
    read_throughputs,
)
from ef_slurm.simulator.analytic import MODELS, analytic_tables, write_tables
from tests.unit.conftest import Table

HEADER = "global_batch_size,1,2,4,8\n"


@pytest.mark.parametrize("cell", ["", " ", "0", "0.0", "-0", "0e5", "nan", "NaN", " NAN "])
def test_empty_nan_and_zero_cells_cannot_run(table: Table, cell: str) -> None:
    curves = read_table(table("m.csv", f"{HEADER}8,1,{cell},2,3\n16,2,{cell},{cell},{cell}\n"))
    assert curves[8].points == ((1, 1.0), (4, 2.0), (8, 3.0))
    assert curves[16].points == ((1, 2.0),)


@pytest.mark.parametrize("cell", ["0", "0.0", "nan", "NaN"])
def test_zero_and_nan_cannot_run_in_an_option_either(cell: str) -> None:
    assert parse_throughput(f"1:1,2:{cell},4:2").points == ((1, 1.0), (4, 2.0))


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("1:2.1,2:4", ((1, 2.1), (2, 4.0))),
        ("4:40, 1:12.5 ,2 : 23", ((1, 12.5), (2, 23.0), (4, 40.0))),
        ("8:1e1", ((8, 10.0),)),
        ("1:5,2:3,4:4", ((1, 5.0), (2, 3.0), (4, 4.0))),
        (f"{MOST_GPUS}:.5", ((MOST_GPUS, 0.5),)),
    ],
)
def test_curves_in_an_option(text: str, points: tuple[tuple[int, float], ...]) -> None:
    assert parse_throughput(text).points == points


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not GPUs:iterations/s; write for example 1:12.5,2:23,4:41"),
        ("1", "'1' is not GPUs:iterations/s"),
        ("1:2,", "'' is not GPUs:iterations/s"),
        ("1:", "'1:' is not GPUs:iterations/s"),
        ("1:2:3", "'2:3' is not a rate on 1 GPUs: iterations/s, or 0 or nan where"),
        ("1:x", "'x' is not a rate on 1 GPUs"),
        ("1:-2", "'-2' is not a rate on 1 GPUs"),
        ("1:inf", "'inf' is not a rate on 1 GPUs"),
        ("1:1_000", "'1_000' is not a rate on 1 GPUs"),
        ("1:1e999", "'1e999' is not a rate on 1 GPUs"),
        ("1:٣", "'٣' is not a rate on 1 GPUs"),
        ("3:2", "'3' is not a number of GPUs: a power of two (1, 2, 4, 8, …)"),
        ("0:2", "'0' is not a number of GPUs"),
        ("-1:2", "'-1' is not a number of GPUs"),
        ("1.0:2", "'1.0' is not a number of GPUs"),
        ("٢:2", "'٢' is not a number of GPUs"),
        (f"{2 * MOST_GPUS}:2", "is not a number of GPUs"),
        ("9" * 9000 + ":2", "is not a number of GPUs"),
        ("1:2,1:3", "a rate on 1 GPUs is given twice"),
        ("1:0,1:3", "a rate on 1 GPUs is given twice"),
        ("1:0,2:nan", "no number of GPUs can run: give at least one rate above 0"),
    ],
)
def test_what_is_no_curve(text: str, message: str) -> None:
    with pytest.raises(FormatError) as error:
        parse_throughput(text)
    assert message in str(error.value)


@given(st.text(alphabet="0123456789:,.e-+ nan_∞", max_size=30))
def test_any_text_is_a_curve_or_a_refusal(text: str) -> None:
    try:
        curve = parse_throughput(text)
    except FormatError:
        return
    assert parse_throughput(",".join(f"{n}:{rate!r}" for n, rate in curve.points)) == curve


@pytest.mark.parametrize(
    "text",
    [
        "global_batch_size,1,2\n8,1,2\n16,3,\n",
        "\ufeffglobal_batch_size,1,2\n8,1,2\n16,3,\n",
        "global_batch_size,1,2\r\n8,1,2\r\n16,3,\r\n",
        "\ufeffglobal_batch_size,1,2\r\n8,1,2\r\n16,3,nan",
        " global_batch_size , 1 , 2 \n 8 , 1 , 2 \n 16 , 3 , \n",
        "\n\nglobal_batch_size,1,2\n\n8,1,2\n , ,\n16,3,0\n\n",
        'global_batch_size,"1","2"\n8.0,1.0,2.0\n16.0,3.0,\n',
        "2,global_batch_size,1\n2,8,1\n,16,3\n",
        "global_batch_size,1,2\n16,3,\n8,1,2\n",
    ],
)
def test_what_editors_and_spreadsheets_make_of_a_table(tmp_path: Path, text: str) -> None:
    file = tmp_path / "m.csv"
    file.write_bytes(text.encode())
    curves = read_table(file)
    assert {batch: curve.points for batch, curve in curves.items()} == {
        8: ((1, 1.0), (2, 2.0)),
        16: ((1, 3.0),),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "m.csv: the file is empty"),
        ("\ufeff", "m.csv: the file is empty"),
        ("global_batch_size,1\n", "m.csv: holds a header, but no rows"),
        ("1,2\n5,6\n", "m.csv:1: column 'global_batch_size': is missing from the header: it must"),
        ("global_batch_size;1;2\n8;1;2\n", "m.csv:1: column 'global_batch_size': is missing"),
        ("global_batch_size\n8\n", "m.csv:1: the header has no numbers of GPUs (1, 2, 4, …)"),
        (
            "global_batch_size,1,3\n8,1,2\n",
            "m.csv:1: column '3': is not a number of GPUs: a power of two (1, 2, 4, 8, …)",
        ),
        ("global_batch_size,1,٢\n8,1,2\n", "m.csv:1: column '٢': is not a number of GPUs"),
        ("global_batch_size,1,\n8,1,2\n", "m.csv:1: column '': is not a number of GPUs"),
        (f"global_batch_size,{'9' * 9000}\n8,1\n", "is not a number of GPUs"),
        ("global_batch_size,1,1\n8,1,2\n", "m.csv:1: column '1': stands twice in the header"),
        ("global_batch_size,1,01\n8,1,2\n", "m.csv:1: column '01': 1 GPUs have another column"),
        (
            HEADER + "8,1,fast,2,3\n",
            "m.csv:2: column '2': 'fast' is not a rate: iterations/s, or 0, nan or nothing where",
        ),
        (HEADER + "8,1,-2,2,3\n", "m.csv:2: column '2': '-2' is not a rate"),
        (HEADER + "8,1,inf,2,3\n", "m.csv:2: column '2': 'inf' is not a rate"),
        (HEADER + "8,1,1_0,2,3\n", "m.csv:2: column '2': '1_0' is not a rate"),
        (
            HEADER + "8.5,1,2,4,3\n",
            "m.csv:2: column 'global_batch_size': '8.5' is not a batch size: a whole number of 1",
        ),
        (HEADER + "1e300,1,2,4,3\n", "m.csv:2: column 'global_batch_size': '1e300' is not a"),
        (HEADER + "0,1,2,4,3\n", "m.csv:2: column 'global_batch_size': '0' is not a batch size"),
        (HEADER + ",1,2,4,3\n", "m.csv:2: column 'global_batch_size': '' is not a batch size"),
        (
            HEADER + "8,1,2,3,4\n8.0,2,2,2,2\n",
            "m.csv:3: column 'global_batch_size': batch size 8 stands in line 2, too",
        ),
        (HEADER + "8,0,nan,,0\n", "m.csv:2: no number of GPUs can run: give at least one rate"),
        (HEADER + "8,1,2\n", "m.csv:2: 3 cells, but the header has 5"),
        (HEADER + '8,"1,2,3,4\n', "m.csv:2: is not a readable table"),
    ],
)
def test_says_what_is_wrong_and_where(table: Table, text: str, message: str) -> None:
    file = table("t/m.csv", text)
    with pytest.raises(InputError) as error:
        read_table(file)
    assert message in str(error.value)
    assert str(error.value).startswith(str(file))
    with pytest.raises(InputError) as again:
        read_throughputs(file.parent)
    assert str(again.value) == str(error.value)


def test_every_problem_is_told_at_once(table: Table) -> None:
    with pytest.raises(InputError) as error:
        read_table(table("m.csv", HEADER + "8,x,2,y,3\n9,1,2,3\nz,1,2,3,4\n"))
    assert [(p.line, p.column) for p in error.value.problems] == [
        (2, "1"),
        (2, "4"),
        (3, None),
        (4, "global_batch_size"),
    ]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "m.csv"
    file.write_bytes("global_batch_size,1\n8,1\n".encode("utf-16"))
    with pytest.raises(InputError, match="m.csv: is not a UTF-8 text file"):
        read_table(file)
    with pytest.raises(InputError, match="none.csv: cannot be read: No such file"):
        read_table(tmp_path / "none.csv")


def test_directories_without_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no throughput tables"):
        read_throughputs(tmp_path)
    with pytest.raises(InputError, match="is not a directory"):
        read_throughputs(tmp_path / "none")


def test_the_published_tables(shared_data: Path) -> None:
    a100 = read_throughputs(shared_data / "throughputs_A100")
    t4 = read_throughputs(shared_data / "throughputs_T4")
    assert (len(a100), len(t4)) == (17, 9)
    # 0, an empty cell and nan, each of them from 16 or 64 GPUs on.
    assert sizes(a100, ("resnet50_cifar10", 64)) == [1, 2, 4, 8]
    assert sizes(a100, ("deepspeech2", 32)) == [1, 2, 4, 8, 16, 32]
    assert sizes(t4, ("yolov3", 64)) == [1, 2, 4, 8, 16]
    # Beyond its peak the curve is kept as it was measured.
    ncf = dict(t4["ncf", 32768].points)
    assert ncf[4] > ncf[8] < ncf[16]


def test_analytic_curves_read_back(tmp_path: Path) -> None:
    tables = analytic_tables()
    files = write_tables(tables, tmp_path / "new")
    assert [file.stem for file in files] == sorted(MODELS)
    again = read_throughputs(tmp_path / "new")
    assert {key: sizes(tables, key) for key in tables} == {key: sizes(again, key) for key in again}


def sizes(tables: ThroughputTables, key: tuple[str, int]) -> list[int]:
    return [gpus for gpus, _ in tables[key].points]


@pytest.mark.parametrize("key", sorted(analytic_tables()))
def test_analytic_curves_scale_worse_and_worse(key: tuple[str, int]) -> None:
    points = analytic_tables()[key].points
    per_gpu = [rate / gpus for gpus, rate in points]
    assert per_gpu == sorted(per_gpu, reverse=True)
    assert points[1][1] > 1.2 * points[0][1]


def test_large_gradients_on_small_batches_pay_for_the_network() -> None:
    vgg = dict(analytic_tables()["vgg16", 64].points)
    assert vgg[16] < vgg[8]


def test_a_directory_whose_name_no_file_system_takes() -> None:
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        read_throughputs(Path("a" * 5000))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("1:10,2:1800", "throughput at 2 GPUs: 1800.0 is not valid: 0.5 to 100 after 10 on 1"),
        ("1:10,2:18,4:0.3", "throughput at 4 GPUs: 0.3 is not valid: 0.9 to 180 after 18 on 2"),
        ("1:10,16:200000", "throughput at 16 GPUs"),
        ("1:1e300", "'1e300' is not a rate on 1 GPUs"),
        ("1:1e-300", "'1e-300' is not a rate on 1 GPUs"),
    ],
)
def test_a_curve_that_no_training_has_is_refused_by_its_size(
    table: Table, text: str, named: str
) -> None:
    with pytest.raises(FormatError) as told:
        parse_throughput(text)
    assert named in str(told.value)
    sizes, cells = zip(*(pair.split(":") for pair in text.split(",")), strict=True)
    file = table("m.csv", f"global_batch_size,{','.join(sizes)}\n8,{','.join(cells)}\n")
    with pytest.raises(InputError) as in_table:
        read_table(file)
    assert str(in_table.value).startswith(f"{file}:2: ")


@pytest.mark.parametrize("text", ["1:10,2:60", "1:10,2:18,4:2", "1:10,16:9", "1:0.1,8:50"])
def test_steep_and_falling_curves_are_taken(text: str) -> None:
    assert len(parse_throughput(text).points) == text.count(":")
