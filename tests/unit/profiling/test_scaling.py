"""The fitted curve: what must hold for any measurements, and for curves of known form."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.model import ModelError
from ef_slurm.profiling.scaling import ScalingModel, fit

SIZES = tuple(2**k for k in range(8))

rates = st.floats(1e-3, 1e4)
measurements = st.dictionaries(st.sampled_from(SIZES), rates, min_size=2)
node_sizes = st.sampled_from([1, 2, 4, 8])


def test_a_curve_of_amdahls_form_is_found_again() -> None:
    seconds = {gpus: 0.1 + 1.0 / gpus for gpus in SIZES}
    model = fit({gpus: 1 / seconds[gpus] for gpus in (1, 8, 16)}, gpus_per_node=8)
    for gpus in SIZES:
        assert model.at(gpus).median == pytest.approx(1 / seconds[gpus], rel=0.25)
        assert model.at(gpus).pessimistic <= 1 / seconds[gpus] * (1 + 1e-9)


def test_what_was_measured_is_taken_as_it_is() -> None:
    model = fit({1: 1.0, 4: 3.0, 32: 2.0}, gpus_per_node=8)
    assert [model.at(gpus).median for gpus in (1, 4, 32)] == [1.0, 3.0, 2.0]
    assert [model.at(gpus).pessimistic for gpus in (1, 4, 32)] == [1.0, 3.0, 2.0]


def test_nothing_is_promised_across_nodes_that_were_never_measured() -> None:
    inside = fit({1: 1.0, 8: 7.9}, gpus_per_node=8)
    assert inside.at(16).median > 10.0  # for growth it looks well
    assert inside.at(16).pessimistic < 7.9
    across = fit({1: 1.0, 8: 7.9, 16: 15.0}, gpus_per_node=8)
    assert 15.0 < across.at(32).pessimistic < 1.15 * 15.0


def test_beyond_the_peak_a_curve_falls() -> None:
    model = fit({1: 1.0, 8: 1.8, 64: 1.5}, gpus_per_node=8)
    assert model.at(128).pessimistic < model.at(64).pessimistic


@given(measurements, node_sizes)
def test_the_pessimistic_value_is_positive_and_never_above_the_median(
    measured: dict[int, float], gpus_per_node: int
) -> None:
    model = fit(measured, gpus_per_node)
    for gpus in SIZES:
        one = model.at(gpus)
        assert 0 < one.pessimistic <= one.median < math.inf


@given(measurements, node_sizes, st.floats(1e-2, 1e2))
def test_the_unit_of_the_rate_does_not_matter(
    measured: dict[int, float], gpus_per_node: int, factor: float
) -> None:
    plain = fit(measured, gpus_per_node)
    scaled = fit({gpus: rate * factor for gpus, rate in measured.items()}, gpus_per_node)
    for gpus in SIZES:
        assert scaled.at(gpus).median == pytest.approx(plain.at(gpus).median * factor, rel=1e-3)
        assert scaled.at(gpus).pessimistic == pytest.approx(
            plain.at(gpus).pessimistic * factor, rel=1e-3
        )


@given(measurements, node_sizes)
def test_the_curves_hold_what_the_model_says(
    measured: dict[int, float], gpus_per_node: int
) -> None:
    model: ScalingModel = fit(measured, gpus_per_node)
    median, pessimistic = model.curves(SIZES)
    assert median.points == tuple((gpus, model.at(gpus).median) for gpus in SIZES)
    assert pessimistic.points == tuple((gpus, model.at(gpus).pessimistic) for gpus in SIZES)


@pytest.mark.parametrize(
    ("measured", "gpus_per_node", "message"),
    [
        ({}, 8, "at least one"),
        ({4: 1.0}, 8, "at least two"),
        ({1: 1.0, 3: 2.0}, 8, "power of two"),
        ({1: 1.0, 2: 0.0}, 8, "positive"),
        ({1: 1.0, 2: -1.0}, 8, "positive"),
        ({1: 1.0, 2: math.nan}, 8, "positive"),
        ({1: 1.0, 2: math.inf}, 8, "positive"),
        ({1: 1.0, 2: 2.0}, 6, "power of two"),
    ],
)
def test_measurements_that_cannot_be_are_refused(
    measured: dict[int, float], gpus_per_node: int, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        fit(measured, gpus_per_node)


def test_a_size_that_is_no_power_of_two_has_no_prediction() -> None:
    with pytest.raises(ModelError, match="power of two"):
        fit({1: 1.0, 2: 2.0}, gpus_per_node=8).at(3)


@pytest.mark.parametrize(
    "measured", [{1: 10.0, 4: 30.0, 8: 28.0}, {2: 18.0, 8: 56.0, 16: 20.0}, {4: 32.0, 8: 30.0}]
)
def test_a_curve_that_fell_does_not_rise_again(measured: dict[int, float]) -> None:
    """So growth, which counts on the median, never goes past the peak."""
    model, largest = fit(measured, gpus_per_node=8), max(measured)
    for gpus in (2 * largest, 4 * largest, 8 * largest):
        assert model.at(gpus).median <= measured[largest]
