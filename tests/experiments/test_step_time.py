"""The model of a step's time: numbers worked out by hand, and what they may not do."""

import pytest

from experiments.lib import step_time
from experiments.lib.step_time import BETWEEN_SLICES, HOP_SECONDS, SLICE_SECONDS, StepTime, Work
from pallas_kernels._lab import CHIPS, target
from pallas_kernels._lab.report import Collective, Operation, Report, Roofline

POD, PAIR = target("v5e:16x16"), target("v5e:16x16", 2)
GIGA = 10**9


def seconds(kind, group, where=POD, num_bytes=GIGA, algorithm=""):
    return sum(step_time.collective_cost(Collective("c", kind, 1.0, num_bytes, group, algorithm), where))


@pytest.mark.parametrize(
    ("kind", "group", "transfer", "hops"),
    [
        # v5e: 200 GB/s out of a chip over two axes of a torus, 100 GB/s along one of them.
        ("all-reduce", 256, 2 * 255 / 256 / 200, 32),
        ("all-gather", 16, 15 / 16 / 100, 8),
        ("all-gather", 256, 255 / 256 / 200, 16),
        ("reduce-scatter", 4, 3 / 100, 2),
        ("all-to-all", 8, 2 / 100, 4),
        ("all-to-all", 256, 8 / 200, 16),
        ("collective-permute", 256, 1 / 50, 1),
        ("all-reduce", 0, 2 * 255 / 256 / 200, 32),  # 0: all of the slice
    ],
)
def test_a_gigabyte_within_a_slice(kind, group, transfer, hops):
    assert seconds(kind, group) == pytest.approx(transfer + hops * HOP_SECONDS, rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "slices", "transfer", "exchanges"),
    [
        # 3.125 GB/s reach a chip from outside its slice.
        ("all-reduce", 2, 2 * 0.5 / 3.125, 2),
        ("all-gather", 16, 15 / 16 / 3.125, 1),
        ("reduce-scatter", 4, 3 / 3.125, 1),
        ("all-to-all", 2, 0.5 / 3.125, 1),
        ("recv", 2, 1 / 3.125, 1),
        ("all-reduce", 0, 2 * 0.5 / 3.125, 2),
    ],
)
def test_a_gigabyte_between_slices(kind, slices, transfer, exchanges):
    expected = transfer + exchanges * SLICE_SECONDS
    assert seconds(kind, slices, PAIR, algorithm=BETWEEN_SLICES) == pytest.approx(expected, rel=1e-12)


def test_the_links_give_the_vendor_s_all_reduce_bandwidth_of_a_pod():
    """51.2 TB/s for v5e: bytes of all chips, each counted in both halves of the sum."""
    num_bytes = 10**12
    reached = 2 * num_bytes * 256 / seconds("all-reduce", 256, num_bytes=num_bytes)
    assert reached == pytest.approx(51.2e12, rel=0.005)


@pytest.mark.parametrize("kind", ["all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"])
@pytest.mark.parametrize("chip", CHIPS)
def test_more_bytes_and_more_chips_take_longer(kind, chip):
    where = target(f"{chip}:2x2" if len(CHIPS[chip].largest) == 2 else f"{chip}:2x2x1")
    assert 0 < seconds(kind, 4, where, 1) < seconds(kind, 4, where, GIGA)
    if kind != "collective-permute":
        small, large = (seconds(kind, group, POD, 1) for group in (4, 16))
        assert small < large


def report(**changes):
    fields = dict.fromkeys(Report._fields) | {
        "operations": (Operation("a", "fusion", 10, 300.0), Operation("b", "kernel", 10, None, bytes=819.0)),
        "collectives": (Collective("r", "all-reduce", 20, 1000, 256),),
        "passes": 4e6, "bytes": 1e6, "roofline": Roofline(0.0, 0.0, 0.0),
    }  # fmt: skip
    return Report(**(fields | changes))


def test_work_is_of_one_step_and_what_has_no_estimate_costs_its_bytes():
    found = step_time.work(report(), CHIPS["v5e"], steps=5)
    # 819 bytes are a nanosecond of HBM, 1.5 cycles.
    assert found.cycles == pytest.approx((10 * 300 + 10 * 1.5) / 5)
    assert (found.passes, found.bytes, found.simulated) == (8e5, 2e5, False)
    assert [(c.calls, c.bytes) for c in found.collectives] == [(4, 1000)]


@pytest.mark.parametrize(
    ("operation", "cycles"),
    [
        (Operation("k", "kernel", 5, None, bytes=819.0, flops=6.144e12 * 1e-6), 1500.0),  # a microsecond of vectors
        (Operation("s", "slice-start", 5, None, bytes=819e9), 0.0),
        (Operation("d", "slice-done", 5, None, bytes=819e9), 0.0),
    ],
)
def test_a_kernel_is_charged_its_arithmetic_and_what_runs_beside_others_nothing(operation, cycles):
    found = step_time.work(report(operations=(operation,)), CHIPS["v5e"], steps=5)
    assert found.cycles == pytest.approx(cycles)


def test_a_simulation_is_believed_before_estimates():
    found = step_time.work(report(cycles=1e4), CHIPS["v5e"], steps=5)
    assert (found.cycles, found.simulated) == (2e3, True)


def test_compute_overlaps_and_communication_comes_on_top():
    local, far = Collective("l", "all-gather", 2, 1000, 16), Collective("f", "recv", 3, 1000, 2, BETWEEN_SLICES)
    time = step_time.step_time(Work(1500.0, False, 197e12 * 3e-6, 819e9 * 2e-6, (local, far)), PAIR)
    assert time[:3] == pytest.approx((1e-6, 3e-6, 2e-6))
    assert time.links == pytest.approx(2 * (1000 * 15 / 16 / 100e9 + 8e-6))
    assert time.network == pytest.approx(3 * (1000 / 3.125e9 + 1e-4))
    assert time.compute == pytest.approx(3e-6)
    assert time.seconds == pytest.approx(3e-6 + time.links + time.network)
    assert time.bound == "network"


def test_between_slices_bytes_queue_and_latencies_run_side_by_side():
    first, second = (Collective(name, "recv", calls, 1000, 2, BETWEEN_SLICES) for name, calls in (("a", 3), ("b", 5)))
    time = step_time.step_time(Work(0.0, False, 0.0, 0.0, (first, second)), PAIR)
    assert time.network == pytest.approx(8 * 1000 / 3.125e9 + 5 * 1e-4)


def test_one_chip_alone_does_not_communicate():
    time = step_time.step_time(Work(1500.0, True, 0.0, 0.0, ()), target("v5e"))
    assert time == StepTime(pytest.approx(1e-6), 0.0, 0.0, 0.0, 0.0)
    assert time.bound == "schedule"
