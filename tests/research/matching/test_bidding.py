"""Pacing against a plain loop and closed forms; budgets, the promise of the shadow rule, welfare, lies; bad input."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.core.status import Status
from research.matching import bidding, bidding_oracles

play = eqx.filter_jit(bidding.run)
each_rule = pytest.mark.parametrize("rule", bidding.RULES)


def plain_loop(problem, params):
    """The auction in Python floats: utilities, payments to the auctioneer, winners, spending from own money."""
    rounds, clients = problem.values.shape
    mu, book = [params.start] * clients, [float(b) for b in problem.budgets]
    rate = [b / rounds for b in book]
    utility, spent, winners = [0.0] * clients, [0.0] * clients, []
    for values, outside in zip(np.asarray(problem.values).tolist(), np.asarray(problem.outside).tolist(), strict=True):
        bids = [min(v / (1 + m), b) for v, m, b in zip(values, mu, book, strict=True)]
        leader = max(range(clients), key=lambda k: (bids[k], -k))
        charge = [0.0] * clients
        if bids[leader] >= outside:
            full = max([outside, *(b for k, b in enumerate(bids) if k != leader)])
            price = full if params.rule == "independent" else outside
            for k in range(clients):
                payment = -params.share * (full - price) / clients
                if k == leader:
                    payment += price + params.share * (full - price)
                    utility[k] += values[k]
                utility[k] -= payment
                spent[k] += max(payment, 0.0)
                charge[k] = max(payment, 0.0)
            if params.rule == "shadow":
                charge = [full if k == leader else 0.0 for k in range(clients)]
        winners.append(leader if bids[leader] >= outside else -1)
        mu = [max(0.0, m + params.step_size * (c - r)) for m, c, r in zip(mu, charge, rate, strict=True)]
        book = [b - c for b, c in zip(book, charge, strict=True)]
    return utility, winners, spent


@each_rule
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_against_a_plain_loop(rule, share, x64):
    problem = bidding.uniform(prng.root_key(1), 300, 3, jnp.asarray([0.02, 0.1, 0.04]))
    params = bidding.Params(300, rule, 0.2, 0.5, share)
    result = play(problem, params)
    utility, winners, spent = plain_loop(problem, params)
    np.testing.assert_array_equal(result.trace.winner, winners)
    np.testing.assert_allclose(result.utility, utility, atol=1e-10)
    np.testing.assert_allclose(problem.budgets - result.state.remaining, spent, atol=1e-10)


def test_three_rounds_by_hand():
    """Client 0 pays 3 with budget 4 and step 1/10; mu becomes .1 (3 - 4/3); then the outside wins; then 1 wins."""
    problem = bidding.Problem(
        jnp.asarray([[5.0, 3.0], [1.0, 1.0], [2.0, 4.0]]), jnp.asarray([2.0, 1.5, 0.5]), jnp.asarray([4.0, 9.0])
    )
    result = play(problem, bidding.Params(3, "independent", 0.1))
    np.testing.assert_array_equal(result.trace.winner, [0, -1, 1])
    np.testing.assert_allclose(result.trace.multiplier[1], [0.5 / 3, 0.0], atol=1e-6)
    # Round 2: client 0 has 1 left and bids that, less than 2 / (1 + mu).
    np.testing.assert_allclose(result.trace.price, [2.0 + 1.0, 0.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(result.utility, [5.0 - 3.0, 4.0 - 1.0], atol=1e-6)
    np.testing.assert_allclose(result.state.remaining, [1.0, 8.0], atol=1e-6)


@pytest.fixture(scope="module")
def paths():
    """Every rule and share on 24 markets of 400 rounds: `{(rule, share): Result}`, the problems stacked."""
    keys = prng.replicate_keys(prng.root_key(2), 24)
    rates = jnp.linspace(0.005, 0.15, 24)[:, None] * jnp.asarray([1.0, 0.6, 1.7])[None, :]
    with jax.enable_x64(True):
        problems = jax.vmap(lambda key, rate: bidding.uniform(key, 400, 3, rate))(keys, rates)
        results = {}
        for rule in bidding.RULES:
            run = jax.jit(
                jax.vmap(
                    lambda problem, share, rule=rule: bidding.run(problem, bidding.Params(400, rule, share=share)),
                    in_axes=(0, None),
                )
            )
            for share in (0.0, 0.5, 1.0):
                results[rule, share] = jax.device_get(run(problems, share))
        return jax.device_get(problems), results


def test_no_budget_is_passed_and_pacing_keeps_the_rate(paths):
    problems, results = paths
    for (rule, share), result in results.items():
        spent = np.maximum(result.trace.payment, 0).sum(axis=1)
        assert np.all(spent <= problems.budgets * (1 + 1e-12))
        np.testing.assert_allclose(result.state.remaining, problems.budgets - spent, atol=1e-10)
        charged = problems.budgets - result.state.book
        bound = bidding.overspend_bound(bidding.Params(400, rule, share=share), result.state.multiplier)
        assert np.all(charged - problems.budgets <= bound + 1e-10)


def test_overspend_bound_on_every_prefix(paths):
    problems, results = paths
    result = results["independent", 0.0]
    done = np.arange(1, 400)[None, :, None]
    excess = np.cumsum(result.trace.payment, axis=1)[:, :-1] - done * problems.budgets[:, None, :] / 400
    bound = bidding.overspend_bound(bidding.Params(400), result.trace.multiplier[:, 1:])
    assert np.all(excess <= bound + 1e-10)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_under_shadow_nobody_is_worse_off_on_any_path(paths, share):
    _, results = paths
    alone, together = results["independent", 0.0], results["shadow", share]
    np.testing.assert_array_equal(together.trace.winner, alone.trace.winner)
    np.testing.assert_allclose(together.state.multiplier, alone.state.multiplier, rtol=1e-11)  # of another program
    gain = together.utility - alone.utility
    params = bidding.Params(400, "shadow", share=share)
    np.testing.assert_allclose(gain, jax.vmap(lambda r: bidding.shadow_gain(r, params))(together), atol=1e-5)
    assert np.all(gain >= -1e-10)
    # The coalition gains the surplus, however it is shared.
    np.testing.assert_allclose(gain.sum(axis=1), together.trace.surplus.sum(axis=1), atol=1e-10)


def test_transfers_cancel_and_only_one_bid_is_paid_for(paths):
    _, results = paths
    for (rule, _), result in results.items():
        np.testing.assert_allclose(result.trace.payment.sum(axis=2), result.trace.price, atol=1e-12)
        lost = result.trace.winner < 0
        assert np.all(result.trace.price[lost] == 0)
        if rule == "independent":
            assert np.all(result.trace.surplus == 0)


def test_no_rule_earns_more_than_the_bound(paths):
    problems, results = paths
    for lane in (0, 8, 23):
        bound = bidding_oracles.welfare_bound(
            problems.values[lane], problems.outside[lane], problems.budgets[lane]
        )  # fmt: skip
        for result in results.values():
            assert result.utility[lane].sum() <= bound + 1e-6  # the solver's tolerance


def test_the_leader_rule_promises_no_client_anything():
    """Round 0 under leader: client 0 wins for nothing and is not paced, outbids client 1 later, and takes her win."""
    values = jnp.asarray([[1.0, 0.99], [1.0, 0.5], [0.0, 0.0], [0.0, 0.0]])
    problem = bidding.Problem(values, jnp.zeros(4), jnp.asarray([1.0, 4.0]))
    alone, leader = (play(problem, bidding.Params(4, rule, 1.5)) for rule in ("independent", "leader"))
    np.testing.assert_array_equal(alone.trace.winner[:2], [0, 1])
    np.testing.assert_array_equal(leader.trace.winner[:2], [0, 0])
    assert leader.utility[1] < alone.utility[1]


def test_fixed_points_in_closed_form():
    """Uniform values. One client against a uniform outside: spend 1 / (6 (1 + mu)^2). Two against none: 1/6 / (1 + mu).

    Midpoint grids of 200: ties fall to client 0, a share of 1/200 of all rounds worth 1/2 on average.
    """
    cells = (np.arange(200) + 0.5) / 200
    first, second = (axis.ravel() for axis in np.meshgrid(cells, cells, indexing="ij"))
    one = bidding_oracles.fixed_point(first[:, None], second, np.array([0.06]), tolerance=5e-3)
    assert one.residual <= 5e-3
    assert one.multiplier[0] == pytest.approx(np.sqrt(1 / 0.36) - 1, abs=1e-2)
    two = bidding_oracles.fixed_point(
        np.stack([first, second], axis=1), 0 * first, np.array([0.1, 0.1]), tolerance=1e-2
    )
    np.testing.assert_allclose(two.multiplier, [2 / 3, 2 / 3], atol=2e-2)
    rich = bidding_oracles.fixed_point(first[:, None], second, np.array([0.2]))
    assert rich.multiplier[0] == 0
    assert rich.spend[0] == pytest.approx(1 / 6, abs=1 / 400)


def test_pacing_rests_at_the_fixed_point():
    """Started there, multipliers stay near it for 20,000 rounds: time averages within 5 %.

    By `overspend_bound` and its mirror the mean charge is within |mu_T - mu_0| / (step T) of the rate; the multiplier
    fluctuates by about sqrt(step) / 4 round to round, and its mean over T steps by far less than the 5 % allowed.
    """
    rounds, rate = 20_000, np.array([0.02, 0.03, 0.014])
    problem = bidding.uniform(prng.root_key(3), rounds, 3, jnp.asarray(rate, jnp.float32))
    rest = bidding_oracles.fixed_point(problem.values, problem.outside, rate, tolerance=5e-3)
    assert rest.residual <= 5e-3
    result = play(problem, bidding.Params(rounds, "independent", 0.2, float(rest.multiplier.mean())))
    np.testing.assert_allclose(result.trace.multiplier[2000:18_000].mean(axis=0), rest.multiplier, rtol=0.05)


def test_truth_pays_without_budgets_alone_but_not_for_a_leader(x64):
    """Budgets that never bind make independent bidding a plain second-price auction: no lie can pay, on any path.

    A leader who pays only the outside bid gains by overbidding her partners.
    """
    problem = bidding.uniform(prng.root_key(4), 200, 3, 10.0)
    scales = jnp.asarray([0.5, 0.9, 1.0, 1.1, 2.0])

    def gains(rule):
        params = bidding.Params(200, rule)
        return jax.jit(jax.vmap(lambda s: bidding.misreport_gain(problem, params, 0, value_scale=s)))(scales)

    alone, leader = gains("independent"), gains("leader")
    assert alone[2] == 0
    assert leader[2] == 0
    assert np.all(alone[jnp.asarray([0, 1, 3, 4])] < 0)
    assert leader[4] > 0


def test_a_smaller_reported_budget_is_kept(x64):
    problem = bidding.uniform(prng.root_key(5), 200, 3, 0.05)
    gain = bidding.misreport_gain(problem, bidding.Params(1, "shadow"), 1, budget_scale=0.5)
    smaller = bidding.Problem(problem.values, problem.outside, problem.budgets * jnp.asarray([1, 0.5, 1]))
    params = bidding.Params(200, "shadow")
    assert float(gain) == pytest.approx(
        float(play(smaller, params).utility[1] - play(problem, params).utility[1]), abs=1e-10
    )


V, D, B = np.full((4, 2), 0.5), np.full(4, 0.25), np.ones(2)


@pytest.mark.parametrize(
    ("values", "outside", "budgets", "message"),
    [
        (V[:, 0], D, B, "values must have shape (any, any), got (4,)."),
        (V[:0], D[:0], B, "number of rounds must be >= 1, got 0."),
        (V[:, :0], D, B[:0], "number of clients must be >= 1, got 0."),
        (V, D[:3], B, "outside must have shape (4), got (3,)."),
        (V, D, B[:1], "budgets must have shape (2), got (1,)."),
        (V * [[1, np.nan]], D, B, "values must be finite, got nan at index (0, 1)"),
        (V * [[1, -1]], D, B, "values must lie in [0, inf], got -0.5 at index (0, 1)"),
        (V, D - 1, B, "outside must lie in [0, inf], got -0.75 at index 0"),
        (V, D * np.inf, B, "outside must be finite, got inf at index 0"),
        (V, D, B * [1, 0], "budgets must be positive and finite, got 0.0 at index 1."),
    ],
)
def test_bad_problems_are_named(values, outside, budgets, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        bidding.run(bidding.Problem(values, outside, budgets), bidding.Params(max(len(values), 1)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bidding.Params(0), "Params.num_steps must be >= 1, got 0."),
        (lambda: bidding.Params(4, "cartel"), "Params.rule must be one of 'independent', 'leader', 'shadow'"),
        (lambda: bidding.Params(4, step_size=0.0), "Params.step_size must be positive and finite, got 0.0."),
        (lambda: bidding.Params(4, start=-1.0), "Params.start must lie in [0, inf], got -1.0."),
        (lambda: bidding.Params(4, share=1.5), "Params.share must lie in [0, 1], got 1.5."),
        (lambda: bidding.run(bidding.Problem(V, D, B), bidding.Params(5)), "Params.num_steps must be <= 4, the number"),
        (
            lambda: bidding.misreport_gain(bidding.Problem(V, D, B), bidding.Params(4), 0, budget_scale=1.5),
            "budget_scale must lie in [1e-06, 1], got 1.5.",
        ),
        (
            lambda: bidding.misreport_gain(bidding.Problem(V, D, B), bidding.Params(4), 0, value_scale=0.0),
            "value_scale must be positive and finite, got 0.0.",
        ),
        (lambda: bidding_oracles.fixed_point(V, D, 0 * B), "rate must be positive and finite, got 0.0 at index 0"),
        (lambda: bidding_oracles.fixed_point(V, D[:2], B), "outside must have shape (4), got (2,)."),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_rounds_past_the_end_are_reported():
    problem, params = bidding.example(prng.root_key(0))
    done = play(problem, params).state
    assert eqx.filter_jit(lambda p, s: bidding.run(p, params, state=s).status)(problem, done) == Status.NONFINITE
