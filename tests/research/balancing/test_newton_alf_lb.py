"""Steps without a step size: the measured curvature, the optimal slope, and scores that move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import newton_alf_lb, online, regret_bounds
from research.balancing.bias_update import Rule
from research.balancing.gumbel_router import GumbelRouter
from research.core import prng

#: What every algorithm owes is tested by default; these need many draws.
pytestmark = pytest.mark.slow


def problem(location):
    return online.problem_of(GumbelRouter(jnp.asarray(location, jnp.float32)))


def traces(algorithm, params, problems, seeds):
    """Of runs that go on from problem to problem, `params.num_steps` on each."""

    @jax.jit
    def run(problem, state):
        result = jax.vmap(lambda state: algorithm.run(problem, params, state=state))(state)
        return result.state, result.trace

    keys = prng.replicate_keys(prng.root_key(0), seeds)
    state, parts = jax.jit(jax.vmap(lambda key: algorithm.init(problems[0], params, key)))(keys), []
    for now in problems:
        state, trace = run(now, state)
        parts.append(trace)
    return jax.tree.map(lambda *p: np.concatenate(p, axis=1), *parts)


EXPERTS, TOKENS, STEPS = 4, 128, 160


@pytest.fixture(scope="module")
def moved():
    """Two stretches at one distribution and one at another; by measured steps, and by 1 / (mu n)."""
    first, second = problem(np.linspace(1, -1, EXPERTS)), problem(np.linspace(-1, 1, EXPERTS))
    known = online.Params(STEPS, num_tokens=TOKENS, rule=Rule("prop", "inv_offset", step_size=EXPERTS, offset=8.0))
    newton = newton_alf_lb.Params(STEPS, num_tokens=TOKENS)
    stretches = (first, first, second)
    return traces(newton_alf_lb, newton, stretches, 64), traces(online, known, stretches, 64)


def test_the_margins_measure_the_modulus(moved):
    newton, _ = moved
    settled = newton.modulus[:, STEPS : 2 * STEPS].mean(axis=1)
    error = settled.std(ddof=1) / 8
    assert 5 * error < 0.1 / EXPERTS
    assert settled.mean() == pytest.approx(regret_bounds.modulus_gumbel(EXPERTS), rel=0.1)


def test_moved_scores_are_followed(moved):
    newton, known = moved
    start, noise = newton.excess[:, 0].mean(), (EXPERTS - 1) / (2 * TOKENS)  # of a full Newton step from one batch
    assert start > 10 * noise
    assert newton.excess[:, 16].mean() < 2 * noise
    assert newton.excess[:, 2 * STEPS - 1].mean() < noise / 20
    # Twice as far away as at the start; steps of 1 / n have become too small for it.
    assert newton.excess[:, 2 * STEPS + 32].mean() < 2 * noise
    assert newton.excess[:, -1].mean() < noise / 10
    assert known.excess[:, -1].mean() > 20 * newton.excess[:, -1].mean()


def test_regret_has_nearly_the_slope_of_the_known_modulus():
    params = newton_alf_lb.Params(512, num_tokens=256)
    regret = traces(newton_alf_lb, params, [problem(np.linspace(1, -1, 8))], 128).regret
    slope = (regret[:, 511] - regret[:, 127]) / np.log(4)
    predicted = regret_bounds.location_family_slope(8, 1, 1 / 8, 256)
    error = slope.std(ddof=1) / np.sqrt(128)
    assert 5 * error < 0.25 * predicted
    assert slope.mean() < 1.25 * predicted
