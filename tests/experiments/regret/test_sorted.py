"""Drifting orders: the losses of the paper's first shuffle sorted by color, and by age."""

import numpy as np
import pytest

from experiments.data import fetch

GOLDEN = {"anh": 46.477132, "baseline": 89.837872, "aa": 41.27796}  # seed 473, label mean, always_on, float64


@pytest.fixture(scope="module")
def by_color(play):
    return play("sorted.py", {"run.replicates": 1, "run.chunk": 14_336})[1]


@pytest.mark.parametrize("method", GOLDEN)
def test_losses_of_the_first_shuffle(by_color, method):
    np.testing.assert_allclose(by_color[f"loss/{method}"][-1, 0, -1], GOLDEN[method], rtol=2e-8)


def test_red_comes_before_green(by_color):
    rounds = by_color["rounds"][:, 0]
    green, red = rounds[:, 3], rounds[:, 4]
    assert red[1] == 2 * 14_336
    assert green[1] == 0
    assert red[-1] == 40_015
    assert green[-1] == 59_985


@pytest.mark.parametrize(("question", "order"), [("adult", (0, 1, 2)), ("adult_descending", (2, 1, 0))])
def test_the_ages_of_adult_come_one_after_the_other(play, question, order):
    if not fetch.cached("adult"):
        pytest.skip("UCI Adult is not cached; python -m experiments.data --fetch adult gets it")
    rounds = play(f"sorted.py:{question},quick")[1]["rounds"]
    ages = rounds[:, 0][:, list(order)]
    for earlier, later in ((0, 1), (1, 2)):
        begun = np.flatnonzero(ages[:, later])[0]
        assert ages[begun, earlier] == ages[-1, earlier]  # complete when the next begins
    assert ages[-1].sum() == 6144


def test_an_unknown_data_set_is_named(play):
    with pytest.raises(ValueError, match=r"config\.problem\.data_set must be one of synthetic, adult, got 'medical'\."):
        play("sorted.py:quick", {"problem.data_set": "medical"})
