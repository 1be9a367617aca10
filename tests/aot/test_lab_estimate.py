"""The compiler's simulation agrees with physical limits that are known: the laboratory's numbers mean something."""

import concurrent.futures
import json

import pytest

from pallas_kernels._lab import CHIPS, cost, micro, report

pytestmark = [pytest.mark.tpu_aot, pytest.mark.usefixtures("compiler")]

SIMULATED = [name for name, chip in CHIPS.items() if chip.simulated]
MICROS = {one.name: one for one in micro.micros()}


@pytest.mark.parametrize("chip", SIMULATED)
@pytest.mark.parametrize("name", MICROS)
def test_an_estimate_lies_within_its_band_of_the_physical_limit(name, chip, compiler):
    """Under other compilers than those of the bands too: that one breaks the model is what this shall tell."""
    one = MICROS[name]
    found = cost(one.fn, one.args, chip, fresh=True)
    assert found.fits
    assert all(operation.simulated or operation.kind == "copy-done" for operation in found.operations)
    low, high = micro.band(one, CHIPS[chip])
    ratio = found.cycles / one.limit(CHIPS[chip])
    assert low <= ratio <= high, (
        f"{name} on {chip}: estimate / limit is {ratio:.3f} with {compiler}, it was {one.measured[chip]} with "
        f"{' and '.join(micro.COMPILERS)}. If this compiler is another one, its model has changed: see what did "
        "before budgets are taken from it."
    )


def test_a_model_that_is_wrong_by_fifteen_per_cent_is_outside_of_every_band():
    for one in MICROS.values():
        assert set(one.measured) == set(SIMULATED)
        for name, measured in one.measured.items():
            low, high = micro.band(one, CHIPS[name])
            assert 0.85 * measured < low < measured < high < 1.15 * measured


@pytest.mark.parametrize("chip", ["v5e", "tpu7x"])
def test_estimates_repeat_to_the_cycle_alone_and_beside_each_other(chip):
    one = MICROS["small blocks"]
    alone = cost(one.fn, one.args, chip, fresh=True)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(cost, one.fn, one.args, chip, fresh=True) for _ in range(2)]
    for run in runs:
        assert _timeless(run.result()) == _timeless(alone)


def _timeless(found: report.Report) -> report.Report:
    return found._replace(lower_seconds=0.0, compile_seconds=0.0, host_bytes=0)


def test_two_different_programs_at_once_get_their_own_estimates():
    pair = [MICROS["copy"], MICROS["small blocks"]]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        beside = list(pool.map(lambda one: cost(one.fn, one.args, "v6e", fresh=True).cycles, pair))
    assert beside == [cost(one.fn, one.args, "v6e", fresh=True).cycles for one in pair]


def test_a_cached_report_is_the_report(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one = MICROS["copy"]
    first = cost(one.fn, one.args, "v5e")
    (file,) = tmp_path.rglob("*.json")
    assert json.loads(file.read_text())["cycles"] == first.cycles
    assert cost(one.fn, one.args, "v5e") == first  # with the seconds of the first, so it was not compiled again
    file.write_text("{")
    again = cost(one.fn, one.args, "v5e")
    assert again.compile_seconds != first.compile_seconds
    assert _timeless(again) == _timeless(first)


def test_a_loop_of_known_length_is_counted_whole():
    one = MICROS["scan"]
    found = cost(one.fn, one.args, "v5e", fresh=True)
    assert max(found.operations, key=lambda operation: operation.cycles or 0).calls == 50
    assert found.flops == 50 * 2 * 1024**3
    assert not [caveat for caveat in found.caveats if "loop" in caveat]


def test_a_loop_that_data_ends_is_counted_once_and_the_report_says_so():
    fn, args = micro.unknown_rounds()
    found = cost(fn, args, "v5e", fresh=True)
    product = max(found.operations, key=lambda operation: operation.cycles or 0)
    assert product.calls == 1
    assert 1 < product.cycles / (MICROS["scan"].limit(CHIPS["v5e"]) / 50) < 1.5
    assert any("number of rounds depends on data; counted once" in caveat for caveat in found.caveats)
    assert "flops: 1 loops of unknown length are counted once" in found.caveats


def test_v4_has_a_schedule_but_no_cycles_and_says_why():
    one = MICROS["exp"]
    found = cost(one.fn, one.args, "v4", fresh=True)
    assert found.fits
    assert found.cycles is None
    assert found.method == "none"
    assert "v4 has no simulated cycles: the compiler's profiler has no model of its memory" in found.caveats
    (kernel,) = found.kernels
    assert kernel.bundles > 0
    assert 0.5 < kernel.occupancy["EUP"] <= 1
    assert found.seconds == found.roofline.hbm
    assert found.bound == "hbm"
