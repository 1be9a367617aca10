"""The philosopher's value is the same at every step and in NumPy, and no more than the relaxation's."""

import jax
import numpy as np

from experiments.lib import config as config_lib
from experiments.lib import lanes
from experiments.matching import families
from pallas_kernels.subset_dp import peers
from research.core import prng
from research.matching import oracles


def test_every_step_gives_the_value_that_lies_below_the_relaxation(play):
    config, curves = play("philosopher.py:quick")
    first, second = curves["philosopher"][:, 0]
    np.testing.assert_array_equal(first, second)
    key = prng.replicate_keys(prng.root_key(config.seed), 1)[0]
    for one, value in zip(lanes.run_keys(key, 0, config.problem.instances), first, strict=True):
        problem = jax.tree.map(lambda leaf: leaf[0], families.draw(one, (config.problem.case,), np.float32))
        reference = peers.bit_view_values(np.asarray(problem.weights), np.asarray(problem.arrivals))[-1]
        np.testing.assert_allclose(value, reference, rtol=1e-5)  # eight float32 sums of values near 3
        assert value <= oracles.online_lp(problem).value * (1 + 1e-6)


def test_sizes_double_the_sets_that_they_name():
    for size in (12, 16, 20, 22):
        config = config_lib.resolve(f"configs/matching/philosopher.py:{size}").config
        assert config.problem.case[2] == size
        assert config.problem.peer_times <= config.problem.case[3]
