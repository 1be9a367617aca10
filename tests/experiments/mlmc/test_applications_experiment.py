"""Applications as experiments: every case can be built, and the figure's numbers are those of the replicates."""

from types import SimpleNamespace

import jax.numpy as jnp
import ml_collections as mlc
import numpy as np
import pytest

from experiments.lib import config as config_lib
from experiments.mlmc import application_problems
from experiments.mlmc import panels_applications as panels
from research.mlmc import bounds, problems

CONFIGS = [f"configs/mlmc/{name}.py" for name in ("applications", "paper_applications", "applications_pod")]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_case_is_a_problem_that_its_levels_fit(config):
    config = config_lib.resolve(config).config
    for name, case in config.cases.items():
        problem = application_problems.built(case.kind, case.arguments, jnp.float32)
        assert problems.check(problem)[0] == ()
        profile = bounds.moment_profile(problem, tuple(case.r))
        assert len(case.b) == len(profile) == problem.depth
        assert name in panels.NAMES
        # The published levels of the basket are kept, although the guarantee of finite variance does not cover them.
        assert profile[0] > 2 or tuple(case.r) == (0.6, 0.6, 0.6)
        assert problem.exact is not None or case.kind == "put"
    for case in config.levels.values():
        assert application_problems.built(case.kind, case.arguments, jnp.float32).smoothness == ("discontinuous",)


@pytest.fixture
def run():
    """A run of two cases whose replicates are known: 6 steps, 5 independent runs, blocks of 4."""
    values = np.random.default_rng(0).normal(3.0, 2.0, (6, 5, 4))
    means = values.mean(axis=2)
    curves = {
        "mean/credit": means, "deviation/credit": ((values - means[:, :, None]) ** 2).sum(axis=2),
        "leaves/credit": np.full((6, 5), 12.0), "mean/basket": means + 1, "deviation/basket": np.zeros((6, 5)),
        "leaves/basket": np.full((6, 5), 40.0),
    }  # fmt: skip
    results = {
        "exact/credit": np.float64(3.2), "exact/basket": np.float64(np.nan), "rule/basket": np.array([3.9, 0.1]),
        "exact/loss": np.float64(0.06), "multilevel/loss": np.array([[0.063, 1.0], [0.056, 1.0]]),
        "variances/loss": np.array([9.0, 1.0, 0.5, 0.25, np.nan]),
    }  # fmt: skip
    cases = {name: {"block": 4} for name in ("basket", "credit")}
    config = mlc.ConfigDict({"cases": cases, "run": {"chunk": 1}, "levels": {"loss": {"tolerance": 0.005}}})
    return SimpleNamespace(curves=curves, results=results, config=config), values


def test_numbers_of_a_run(run):
    run, values = run
    assert panels.cases_of(run) == ["basket", "credit"]
    value, error, count = panels.estimate(run, "credit")
    assert (value, count) == (pytest.approx(values.mean()), 30)
    assert error == pytest.approx(values.mean(axis=2).std(ddof=1) / np.sqrt(30))
    assert panels.replicate_variance(run, "credit") == pytest.approx(values.var())
    assert panels.leaves_for(run, "credit") == 3.0
    assert panels.work(run, "credit") == pytest.approx(3 * values.var())
    assert panels.percent(run, "credit") == pytest.approx(3 * values.var() / (0.01 * values.mean()) ** 2)


def test_claims_of_a_run(run):
    run, values = run
    _, error, _ = panels.estimate(run, "credit")
    assert panels.score(run, "credit").value == pytest.approx(abs(values.mean() - 3.2) / error)
    assert panels.score(run, "basket") is None
    other = panels.estimate(run, "basket")[1]
    wanted = (3.9 - values.mean() - 1) / np.hypot(0.1, other)
    assert panels.excess_of_rule(run, "basket").value == pytest.approx(wanted)
    assert panels.multilevel_error(run, "loss").value == pytest.approx(np.sqrt((0.6**2 + 0.8**2) / 2))
    assert panels.rate(run, "loss").value == pytest.approx(1.0)
