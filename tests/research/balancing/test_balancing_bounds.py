"""Every theorem about fixed scores on 64 random instances, in float64; each rule is one program for all of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import alf_lb, assignment, bounds, oracles
from research.balancing.bias_update import Rule, load_error

INSTANCES = 64
ROUNDING = 2e-12  # of sums of some hundred scores below 10


def scores(tokens, num_experts):
    """Normal, uniform, skewed towards some experts, and softmax rows: `[64, T, E]`."""
    rng = np.random.default_rng(tokens)
    plain = rng.normal(size=(INSTANCES, tokens, num_experts))
    plain[16:32] = rng.random((16, tokens, num_experts))
    plain[32:] += rng.normal(size=(32, 1, num_experts))
    plain[48:] = np.exp(plain[48:]) / np.exp(plain[48:]).sum(axis=-1, keepdims=True)
    return plain


#: name: T, E, K, rule, schedule; two with loads that cannot be equal.
CASES = {
    "sign": (24, 4, 2, "sign", "const"),
    "sign, no whole L": (23, 4, 1, "sign", "const"),
    "prop": (24, 4, 2, "prop", "inv_sqrt"),
    "prop_raw, no whole L": (23, 4, 1, "prop_raw", "inv_sqrt"),
}
each_case = pytest.mark.parametrize("name", CASES)


@functools.cache
def outcome(name):
    """Scores [64, T, E], K, step sizes [64], and the histories: 800 updates of small steps, or 200 of larger ones."""
    tokens, num_experts, k, rule, schedule = CASES[name]
    drawn = scores(tokens, num_experts)
    spread = (drawn.max(axis=-1) - drawn.min(axis=-1)).max(axis=-1)
    scale, num_steps = {"sign": (0.02, 800), "prop": (0.1, 200), "prop_raw": (0.1 / tokens, 200)}[rule]
    step_size = spread * scale * np.random.default_rng(1).uniform(0.1, 1, INSTANCES)

    def run(drawn, step_size):
        params = alf_lb.Params(num_steps, Rule(rule, schedule, step_size=step_size), record_switches=True)
        return alf_lb.run(alf_lb.Problem(drawn, k), params)

    with jax.enable_x64(True):
        result = jax.jit(jax.vmap(run))(jnp.asarray(drawn), jnp.asarray(step_size))
        history = alf_lb.history(result)
        return drawn, k, step_size, jax.tree.map(np.asarray, (history, result.trace.switched))


@functools.cache
def optima(name):
    """Values [64] of the program with equal loads, and its prices [64, E]."""
    drawn, k, _, _ = outcome(name)
    found = [oracles.linear_program(instance, k, equal_loads=True) for instance in drawn]
    return np.array([f.value for f in found]), np.array([f.price for f in found])


@each_case
def test_the_dual_changes_by_the_identity(name, x64):
    drawn, k, _, (history, _) = outcome(name)
    change = np.diff(history.bias, axis=1)
    predicted = bounds.dual_change(history.load[:, :-1], change, history.benefit)
    np.testing.assert_allclose(np.diff(history.dual, axis=1), predicted, rtol=0, atol=ROUNDING)
    assert history.benefit.min() >= -ROUNDING
    # D by its definition, from sorted rows.
    for i in range(0, INSTANCES, 8):
        biased = np.sort(drawn[i] + history.bias[i, -1], axis=1)[:, -k:]
        definition = biased.sum() - k * drawn.shape[1] / drawn.shape[2] * history.bias[i, -1].sum()
        assert history.dual[i, -1] == pytest.approx(definition, abs=ROUNDING)


@each_case
def test_the_dual_falls_where_the_benefit_is_small(name, x64):
    _, _, _, (history, _) = outcome(name)
    change, falls = np.diff(history.bias, axis=1), np.diff(history.dual, axis=1)
    required = np.asarray(bounds.required_benefit(history.load[:, :-1], change))
    clear = np.abs(history.benefit - required) > ROUNDING
    np.testing.assert_array_equal((falls < 0)[clear], (history.benefit < required)[clear])
    ahead = np.asarray(bounds.dual_change_ahead(history.load[:, 1:], change))
    assert (falls <= ahead + ROUNDING).all()
    before, after = (np.sign(load_error(jnp.asarray(part))) for part in (history.load[:, :-1], history.load[:, 1:]))
    nobody_crosses = (before * after >= 0).all(axis=-1)
    assert nobody_crosses.any()
    assert (falls[nobody_crosses] <= ROUNDING).all()


@each_case
def test_tokens_go_to_less_loaded_experts_only(name, x64):
    _, _, _, (history, switched) = outcome(name)
    assert switched.sum() > INSTANCES
    assert not np.asarray(bounds.preference_violations(switched, history.load[:, :-1], CASES[name][3])).any()
    # The count would see one: a switch between experts of one sign against the sign rule.
    planted = np.zeros((4, 4), int)
    planted[0, 1] = 1
    assert int(bounds.preference_violations(planted, np.array([5, 4, 1, 2]), "sign")) == 1
    assert int(bounds.preference_violations(planted, np.array([5, 4, 1, 2]), "prop")) == 0


@pytest.mark.parametrize("name", ["sign", "sign, no whole L"])
def test_the_sign_rule_settles_in_its_band(name, x64):
    drawn, k, step_size, (history, _) = outcome(name)
    num_experts = drawn.shape[2]
    constants = jax.jit(
        jax.vmap(
            lambda s, u: (
                bounds.score_range(s),
                bounds.settling_time(bounds.score_range(s), u, num_experts),
                bounds.settled_load_deviation(s, k, u),
            )
        )
    )
    spread, settled, band = (np.asarray(c) for c in constants(jnp.asarray(drawn), jnp.asarray(step_size)))
    assert settled.max() < 800
    reached = history.bias.max(axis=-1) - history.bias.min(axis=-1)
    assert (reached <= np.asarray(bounds.sign_spread(spread, step_size))[:, None] + ROUNDING).all()
    deviation = np.abs(load_error(jnp.asarray(history.load), jnp.float64)).max(axis=-1)
    late = np.arange(801)[None] >= settled[:, None]
    allowed = band[:, None] if name == "sign" else band[:, None] - 1e-9  # strictly below where L is no integer
    assert (deviation <= allowed)[late].all()
    assert (deviation > allowed)[~late].any()


def test_proportional_steps_keep_the_spread(x64):
    drawn, _, step_size, (history, _) = outcome("prop")
    spread = (drawn.max(axis=-1) - drawn.min(axis=-1)).max(axis=-1)
    reached = history.bias.max(axis=-1) - history.bias.min(axis=-1)
    assert (reached <= np.asarray(bounds.proportional_spread(spread, step_size))[:, None] + ROUNDING).all()


@each_case
def test_balance_is_optimality(name, x64):
    _, _, _, (history, _) = outcome(name)
    best, price = optima(name)
    assert (history.dual >= best[:, None] - ROUNDING).all()
    close, wide = (np.asarray(b) for b in bounds.quality_loss_bounds(history.load, history.bias))
    loss = np.asarray(assignment.quality_loss(history.value, best[:, None]))
    assert (loss <= close + ROUNDING).all()
    assert (close <= wide + ROUNDING).all()
    gap = np.asarray(assignment.dual_gap(history.dual, best[:, None]))
    assert (gap <= np.asarray(bounds.dual_gap_bound(history.load, history.bias, price[:, None])) + ROUNDING).all()
    equal = (history.load == history.load[..., :1]).all(axis=-1)
    if bounds.has_integral_optimum(*(CASES[name][i] for i in (0, 1, 2))):
        assert equal.any()
        np.testing.assert_allclose(history.value[equal], history.dual[equal], rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(gap[equal], 0, atol=ROUNDING)
    else:
        assert not equal.any()


def test_raw_proportional_steps_converge_at_the_rate(x64):
    name = "prop_raw, no whole L"
    drawn, k, step_size, (history, _) = outcome(name)
    best, price = optima(name)
    tokens, num_experts = drawn.shape[1:]
    sizes = step_size[:, None] / np.sqrt(np.arange(1, 201))[None]
    deviations = (np.asarray(load_error(jnp.asarray(history.load), jnp.float64))[:, :-1] ** 2).sum(axis=-1)
    assert (deviations <= bounds.largest_load_variance(tokens, num_experts, k)).all()
    promised = jax.vmap(bounds.dual_convergence)(jnp.linalg.norm(price, axis=1), jnp.asarray(sizes), deviations)
    reached = np.minimum.accumulate(history.dual[:, :-1] - best[:, None], axis=1)
    assert (reached <= np.asarray(promised) + ROUNDING).all()


def test_whole_loads_and_fractions():
    for name in ("sign", "sign, no whole L"):
        drawn, k, _, _ = outcome(name)
        equal, _ = optima(name)
        whole = [oracles.linear_program(instance, k) for instance in drawn]
        for found in whole:
            np.testing.assert_allclose(found.selection, np.round(found.selection), atol=1e-9)
        values = np.array([f.value for f in whole])
        if name == "sign":
            np.testing.assert_allclose(values, equal, atol=1e-9)
        else:
            assert (values >= equal - 1e-9).all()
            assert (values > equal + 1e-6).any()


@pytest.mark.parametrize("schedule", ["const", "inv", "inv_sqrt"])
def test_a_bias_travels_no_faster_than_its_steps(schedule, x64):
    rule = Rule("sign", schedule, step_size=0.05)
    for updates in (1, 10, 200):
        reached = float(bounds.reachable_spread(rule, updates))
        assert bounds.travel_updates(reached, 0.05, schedule) <= updates * (1 + 1e-12)
    _, _, step_size, (history, _) = outcome("sign")
    spread = history.bias.max(axis=-1) - history.bias.min(axis=-1)
    assert (spread <= 2 * step_size[:, None] * np.arange(801) + ROUNDING).all()
    with pytest.raises(ValueError, match="schedule must be one of 'const', 'inv', 'inv_sqrt', got 'cosine'"):
        bounds.travel_updates(1.0, 0.05, "cosine")
