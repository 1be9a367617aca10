"""Replicate values, leaf counts and block means, to be matched by every engine: seed (1, 2), one normal a node."""

import numpy as np
import pytest

from research.mlmc import read, walks

# name: (walk, r, values of ids 0..7, their leaves, mean over ids 0..4095, leaves of all of them)
GOLDEN = {
    "P1": (
        "A3", (0.6,),
        (1.594629439, -0.154785075, 0.024290068, 0.002103589, 0.552584445, 0.616478174, 0.922836461, 0.735492089),
        (1, 1, 2, 4, 1, 2, 1, 2), 0.650703904, 15616,
    ),
    "P2": (
        "E1", (0.74, 0.6),
        (-1.024294493, 1.297041989, 1.229608382, 0.703541938, 1.199996251, -1.462400698, 1.217862975, 1.351280391),
        (1, 1, 2, 3, 2, 5, 1, 1), 0.609094248, 17543,
    ),
    "P3": (
        "C2", (0.74, 0.6, 0.54),
        (1.012150759, -1.306972716, 0.068666485, 1.202510059, 0.618260473, 0.656722530, 1.340224670, 1.010036551),
        (1, 1, 34, 4, 2, 14, 1, 1), 0.559426560, 80294,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_values_leaves_and_means_in_single_precision(name):
    walk, r, values, leaves, mean, total = GOLDEN[name]
    ran = read.replicates(walks.walk(walk), read.Params(r=r, block=512), (1, 2), np.arange(4096))
    np.testing.assert_allclose(ran.value[:8], values, rtol=0, atol=2e-4)
    np.testing.assert_array_equal(ran.leaves[:8], leaves)
    assert np.asarray(ran.leaves).sum() == total
    np.testing.assert_allclose(np.asarray(ran.value, np.float64).mean(), mean, rtol=0, atol=2e-4)
    assert not ran.overflow
