"""Items that do not exist change nothing, and the rules keep their proved ratios."""

import numpy as np
import pytest

from experiments.matching import assortment as question
from research.core import prng
from research.matching import assortment, assortment_oracles


def test_rules_lie_between_their_ratio_and_the_optimum(quick):
    run = quick("assortment.py:quick")
    for model in question.MODELS:
        for constraint in question.CONSTRAINTS:
            best = run.results[f"{model}/{constraint}/optimum"]
            found = run.curves[f"{model}/{constraint}/search"]
            assert (found <= best * (1 + 1e-5)).all()
            if model != "chain":
                assert (found >= assortment.guarantee(constraint, epsilon=0.1) * best * (1 - 1e-5)).all()


@pytest.mark.parametrize("model", question.MODELS)
def test_items_that_do_not_exist_are_worth_nothing(model):
    """The optimum over five of eight items is that over the five alone."""
    padded = question.models(prng.root_key(1), 8, 5, np.float32)[model]
    table = assortment_oracles.values(padded).reshape(8, 32)
    np.testing.assert_allclose(table, np.broadcast_to(table[0], table.shape), rtol=1e-5, atol=1e-6)


def test_a_third_of_the_items_that_exist_may_be_chosen():
    model = question.models(prng.root_key(2), 12, 9, np.float32)["logit"]
    assert float(question.constrained(prng.root_key(3), model, 9, "cardinality").budget) == 3
    costs = question.constrained(prng.root_key(3), model, 9, "budget")
    assert float(costs.budget) == pytest.approx(float(costs.cost[:9].sum()) / 3, rel=1e-6)
