"""`superres estimate`: its arithmetic, and that it prints its assumptions."""

import dataclasses

import pytest

from superres.cli.estimate import estimate_all, read_assumptions
from superres.cli.main import execute

ASSUMED = dataclasses.replace(
    read_assumptions(),
    emr_surcharge=0.5,
    network_core_seconds=0.8,
    other_core_seconds=0.4,
    gpu_gigabytes=2.0,
    gpu_efficiency=0.5,
)
GPU, CPU = (
    dataclasses.replace(each, cores=4, dollars=2.0, gigabytes_per_second=speed)
    for each, speed in zip(read_assumptions().instances, (100, None), strict=False)
)


def estimated(megapixels: float, scale: int):
    return estimate_all(megapixels, scale, dataclasses.replace(ASSUMED, instances=(GPU, CPU)))


def test_a_cpu_does_network_and_rest():
    _, cpu = estimated(3.6, 2)
    assert cpu.seconds_per_megapixel == pytest.approx((0.8 + 0.4) / 4)
    assert cpu.hours == pytest.approx(0.3 * 3.6 * 4 / 3600)
    assert cpu.dollars_per_hour == pytest.approx(3.0)
    assert cpu.dollars == pytest.approx(3.0 * cpu.hours)
    assert cpu.dollars_per_thousand == pytest.approx(0.3 * 1000 / 3600 * 3.0)


def test_a_gpu_takes_the_network_and_leaves_the_rest():
    gpu, _ = estimated(1, 2)
    assert gpu.seconds_per_megapixel == pytest.approx(2.0 / (100 * 0.5) + 0.4 / 4)


def test_the_network_costs_less_for_each_output_pixel_at_a_larger_scale():
    _, cpu = estimated(1, 4)
    assert cpu.seconds_per_megapixel == pytest.approx((0.8 / 4 + 0.4) / 4)
    assert cpu.hours == pytest.approx(cpu.seconds_per_megapixel * 16 / 3600)


def test_the_measured_figure_is_the_one_that_the_assumptions_repeat():
    # docs/figures.md: 0.136 seconds per megapixel on two cores.
    shipped = read_assumptions()
    total = shipped.network_core_seconds + shipped.other_core_seconds
    assert total / 2 == pytest.approx(0.136)


def test_a_processor_with_half_precision_needs_less_time_for_the_network():
    half = dataclasses.replace(CPU, network_factor=0.5)
    (cpu,) = estimate_all(1, 2, dataclasses.replace(ASSUMED, instances=(half,)))
    assert cpu.seconds_per_megapixel == pytest.approx((0.8 * 0.5 + 0.4) / 4)


def test_the_output_names_instance_types_sources_and_limits(capsys):
    assert execute(["estimate", "--images", "1000", "--megapixels", "2.5", "--scale", "3"]) == 0
    shown = capsys.readouterr().out
    assert "22,500 output megapixels" in shown
    for each in read_assumptions().instances:
        assert each.type in shown
    assert "list price" in shown
    assert "unproven" in shown


@pytest.mark.parametrize(
    "wrong", [["0", "1"], ["1", "0"], ["1", "-2"], ["many", "1"], ["1", "nan"], ["1", "inf"]]
)
def test_amounts_must_be_positive(capsys, wrong):
    assert execute(["estimate", "--images", wrong[0], "--megapixels", wrong[1]]) == 2
    assert "Invalid value" in capsys.readouterr().err
