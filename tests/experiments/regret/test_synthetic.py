"""The synthetic law: the losses of the paper's first shuffle, in shuffled order."""

import numpy as np
import pytest

# Seed 473, label mean, 100,000 rounds, float64: circle, square, triangle, green, red, always_on.
GOLDEN = {
    "baseline": (38.5009135, 29.6257608, 21.7354275, 48.8383092, 41.0237927, 89.8621018),
    "anh": (24.2314861, 14.6987822, 10.1772439, 24.7458072, 24.361705, 49.1075122),
    "anh_mean_unclipped": (23.8352589, 14.1567085, 9.797332, 24.1455739, 23.6437256, 47.7892994),
}


@pytest.fixture(scope="module")
def first_shuffle(play):
    return play("synthetic.py", {"run.replicates": 1, "run.chunk": 14_336})[1]


@pytest.mark.parametrize("method", GOLDEN)
def test_losses_of_the_first_shuffle_in_float32(first_shuffle, method):
    # 5e-6 is what the blocked form in float32 may lose over 1e5 rounds.
    np.testing.assert_allclose(first_shuffle[f"loss/{method}"][-1, 0], GOLDEN[method], rtol=5e-6)


def test_loss_of_the_aggregating_algorithm(first_shuffle):
    np.testing.assert_allclose(first_shuffle["loss/aa"][-1, 0, -1], 45.7044686, rtol=5e-6)


@pytest.mark.parametrize("label", ["", "min,", "max,", "dperm,"])
def test_bounds_hold_part_by_part(play, label):
    covered = ("anh_clip", "anh_mean", "aa", "ewa")
    config, found = play(f"synthetic.py:{label}quick")
    assert config.problem.label == (label.strip(",") or "mean")
    assert np.all(found["expert_clip"] <= found["ridge_value"] + found["logdet"])
    for method in covered:
        assert np.all(found[f"loss/{method}"] - found["expert_clip"] <= found[f"meta_bound/{method}"] + 1e-5)
