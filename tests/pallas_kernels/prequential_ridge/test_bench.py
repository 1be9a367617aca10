"""The benchmark's peers solve the same problem, and its rows say what they measured."""

import numpy as np
import pytest

from pallas_kernels import _bench
from pallas_kernels.prequential_ridge import bench, peers


def test_peers_agree_on_the_loss():
    features, labels, awake = (a[:200] for a in bench.stand_in("synthetic"))
    rows_of = [np.flatnonzero(a) for a in awake.T]
    loop = peers.plain_loop(features, labels, awake)
    assert peers.vectorised(features, labels, awake) == pytest.approx(loop, rel=1e-9)
    for block in (7, 32):
        assert peers.blocked_blas(features, labels, rows_of, block) == pytest.approx(loop, rel=1e-9)


def test_rows_carry_time_spread_and_share():
    work = _bench.Work(lambda: sum(range(20_000)), items=10, flops=2e4, useful=1e4)
    (row,) = _bench.measure(_bench.Case("sum", "terms", (1,), {"python": work}), {"float32": 1e9}, repeats=5)
    assert row["repeats"] == 5
    assert row["median_ms"] > 0
    assert row["iqr_ms"] >= 0
    assert row["of_limit"] == pytest.approx(2 * row["of_limit_useful"])
    assert row["per_second"] == pytest.approx(10 / (row["cpu_ms"] / 1e3))
