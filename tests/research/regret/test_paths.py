"""Shortest paths by dynamic programming, perturbed leaders per group, and the two halves of their regret."""

import dataclasses
import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.regret import paths, sleeping_experts
from research.regret.grid import Alternating, Edges, draw_law, path_cost, shortest_path

solve = jax.jit(shortest_path)
play = eqx.filter_jit(paths.run)  # one compilation per shape; what `run` checks eagerly has tests of its own
window_of = eqx.filter_jit(lambda law, first, rounds: law.window(first, rounds))


def all_moves(side):
    """Every right/down path, the one that goes right at the first difference first."""
    length = 2 * (side - 1)
    for downs in itertools.combinations(range(length), side - 1):
        moves = np.zeros(length, bool)
        moves[list(downs)] = True
        yield moves


def cost_by_hand(horizontal, vertical, moves):
    row = column = 0
    total = 0.0
    for down in moves:
        total += vertical[row, column] if down else horizontal[row, column]
        row, column = (row + 1, column) if down else (row, column + 1)
    return total


def best_by_hand(horizontal, vertical):
    """The cheapest path; of several, the one that goes right where they part."""
    side = vertical.shape[1]
    return min(((cost_by_hand(horizontal, vertical, m), tuple(m)) for m in all_moves(side)), key=lambda pair: pair)


def random_problem(seed, *, rounds=60, side=3, groups=3, noise=True, awake_share=0.6):
    rng = np.random.default_rng(seed)
    awake = (rng.random((rounds, groups)) < awake_share).astype(float)
    awake[:, -1] = 1.0

    def edges(*leading):
        return Edges(*(jnp.asarray(rng.random((*leading, *s))) for s in ((side, side - 1), (side - 1, side))))

    drawn = edges(rounds, groups) if noise else None
    return paths.Problem(edges(rounds), jnp.asarray(awake), jnp.full(groups, 1 / groups), drawn)


def test_worked_example(x64):
    horizontal = jnp.asarray([[0.1, 0.9], [0.4, 0.3], [0.2, 0.2]])
    vertical = jnp.asarray([[0.5, 0.1, 0.6], [0.3, 0.8, 0.2]])
    path = shortest_path(Edges(horizontal, vertical))
    np.testing.assert_allclose(path.cost, 0.7, rtol=1e-15)
    np.testing.assert_array_equal(path.moves, [False, True, False, True])


def test_ties_go_right():
    ones = Edges(jnp.ones((3, 2)), jnp.ones((2, 3)))
    np.testing.assert_array_equal(shortest_path(ones).moves, [False, False, True, True])


@pytest.mark.parametrize("side", [2, 3, 4, 5])
@pytest.mark.parametrize("integer_costs", [False, True], ids=["random", "ties"])
def test_shortest_path_is_the_best_of_all_paths(side, integer_costs, x64):
    rng = np.random.default_rng(side)
    for _ in range(25):
        horizontal, vertical = rng.random((side, side - 1)), rng.random((side - 1, side))
        if integer_costs:  # exact in floating point, so that ties are ties
            horizontal, vertical = np.floor(3 * horizontal), np.floor(3 * vertical)
        edges = Edges(jnp.asarray(horizontal), jnp.asarray(vertical))
        path = solve(edges)
        cost, moves = best_by_hand(horizontal, vertical)
        np.testing.assert_allclose(path.cost, cost, rtol=1e-14)
        np.testing.assert_array_equal(path.moves, moves)
        np.testing.assert_allclose(path_cost(edges, path.moves), path.cost, rtol=1e-14)


def test_transposing_the_grid_turns_right_into_down(x64):
    rng = np.random.default_rng(0)
    horizontal, vertical = rng.random((6, 5)), rng.random((5, 6))
    path = shortest_path(Edges(jnp.asarray(horizontal), jnp.asarray(vertical)))
    flipped = shortest_path(Edges(jnp.asarray(vertical.T), jnp.asarray(horizontal.T)))
    np.testing.assert_array_equal(path.moves, ~flipped.moves)


def test_perturbation_scale_of_the_worked_example(x64):
    scale = paths.perturbation_scale(3, jnp.asarray([1.0, 100.0]))
    np.testing.assert_allclose(1 / scale, [0.408248290463863, 0.0408248290463863], rtol=1e-14)


def learner_by_hand(problem):
    """The learner in loops over rounds and groups, with the weights of sleeping experts as they are printed."""
    horizontal, vertical = (np.asarray(e) for e in problem.costs)
    noise_right, noise_down = (np.asarray(e) for e in problem.noise)
    awake, prior = np.asarray(problem.awake), np.asarray(problem.prior)
    rounds, groups = awake.shape
    side = vertical.shape[-1]
    diameter, largest, norm = 4 * (side - 1), 2 * (side - 1), 2 * side * (side - 1)
    total = [(np.zeros((side, side - 1)), np.zeros((side - 1, side))) for _ in range(groups)]
    played, regret, magnitude = np.zeros(groups, int), np.zeros(groups), np.zeros(groups)
    losses = []

    def weight(r, c):
        return (math.exp(max(r + 1, 0) ** 2 / (3 * (c + 1))) - math.exp(max(r - 1, 0) ** 2 / (3 * (c + 1)))) / 2

    for t in range(rounds):
        leader = np.zeros(groups)
        for g in range(groups):
            epsilon = math.sqrt(diameter / (largest * norm * (played[g] + 1)))
            right = total[g][0] + noise_right[t, g] / epsilon
            down = total[g][1] + noise_down[t, g] / epsilon
            leader[g] = cost_by_hand(horizontal[t], vertical[t], best_by_hand(right, down)[1]) / largest
        p = prior * awake[t] * [weight(r, c) for r, c in zip(regret, magnitude, strict=True)]
        p = p if p.sum() > 0 else prior * awake[t]
        p = p / p.sum()
        losses.append(p @ leader)
        for g in np.flatnonzero(awake[t]):
            regret[g] += losses[-1] - leader[g]
            magnitude[g] += abs(losses[-1] - leader[g])
            total[g] = (total[g][0] + horizontal[t], total[g][1] + vertical[t])
            played[g] += 1
    best = np.array([best_by_hand(*edges)[0] / largest for edges in total])
    return np.array(losses), regret, best


@pytest.mark.parametrize("seed", range(3))
def test_matches_a_learner_written_in_loops(seed, x64):
    problem = random_problem(seed)
    result = play(problem, paths.Params(num_steps=60), prng.root_key(0))
    losses, meta_regret, best = learner_by_hand(problem)
    np.testing.assert_allclose(result.trace.loss, losses, atol=1e-12)
    np.testing.assert_allclose(result.state.meta.regret, meta_regret, atol=1e-12)
    np.testing.assert_allclose(paths.hindsight(result.state), best, atol=1e-12)
    np.testing.assert_allclose(result.regret, losses @ np.asarray(problem.awake) - best, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_meta_regret_below_bound_for_every_outcome(seed, x64):
    problem = random_problem(seed, rounds=300, side=4, groups=5, noise=False)
    state = play(problem, paths.Params(num_steps=300), prng.root_key(seed)).state
    meta = np.asarray(state.learner_loss - state.leader_loss)
    bound = np.asarray(sleeping_experts.regret_bound(problem.prior, state.meta.cumulative))
    np.testing.assert_allclose(meta, state.meta.regret, atol=1e-11)
    assert np.all(meta <= bound * (1 + 1e-9))


def uniform_sum_cdf(x, terms=4):
    """P(sum of `terms` uniforms on [0, 1] <= x): Irwin and Hall's formula."""
    x = min(max(x, 0.0), float(terms))
    parts = ((-1) ** j * math.comb(terms, j) * (x - j) ** terms for j in range(math.floor(x) + 1))
    return sum(parts) / math.factorial(terms)


def run_alternating(rounds, lanes, perturbation):
    costs, awake = Alternating(2, "float64").window(0, rounds)
    problem = paths.Problem(costs, awake, jnp.ones(1))
    params = paths.Params(num_steps=rounds, perturbation=perturbation)
    keys = prng.replicate_keys(prng.root_key(11), lanes)
    state = jax.jit(jax.vmap(lambda key: paths.run(problem, params, key, validate=False).state))(keys)
    return np.asarray(state.leader_loss[:, 0]), np.asarray(jax.vmap(paths.hindsight)(state)[:, 0])


def test_leader_loss_has_its_exact_expectation(x64):
    """Two paths: the leader goes right iff a sum of four uniforms is small enough, so its expected loss is known.

    The rounds' losses are independent in [0, 1]; by Hoeffding the mean over lanes of the total over `rounds` differs
    from its expectation by more than the margin with probability at most 1e-6.
    """
    rounds, lanes = 200, 400
    measured, _ = run_alternating(rounds, lanes, 1.0)
    right, down = (np.asarray(e) for e in Alternating(2, "float64").window(0, rounds)[0])
    by_right = right[:, 0, 0] + down[:, 0, 1]
    by_down = down[:, 0, 0] + right[:, 1, 0]
    expected = 0.0
    for n in range(1, rounds + 1):
        lead = (by_down[: n - 1] - by_right[: n - 1]).sum() / paths.perturbation_scale(2, float(n))
        goes_right = uniform_sum_cdf(float(lead) + 2)  # U1 + U2 - U3 - U4 <= lead, as 2 + that difference is a sum of 4
        expected += (goes_right * by_right[n - 1] + (1 - goes_right) * by_down[n - 1]) / 2
    margin = math.sqrt(rounds * math.log(2 / 1e-6) / (2 * lanes))
    assert abs(measured.mean() - expected) <= margin
    assert margin < 0.02 * rounds  # sharp enough to see a wrong scale: the leader without noise loses 2 x as much


def test_leader_regret_below_bound_where_the_unperturbed_leader_fails(x64):
    """The same Hoeffding margin, one-sided, at 1e-6; the unperturbed leader's regret is linear and needs no margin."""
    rounds, lanes = 1200, 64
    bound = float(paths.leader_regret_bound(2, rounds))
    loss, best = run_alternating(rounds, lanes, 1.0)
    assert (loss - best).mean() <= bound + math.sqrt(rounds * math.log(1 / 1e-6) / (2 * lanes))
    loss, best = run_alternating(rounds, 1, 0.0)
    assert (loss - best)[0] > bound


def test_a_round_with_nobody_awake_changes_only_the_step(x64):
    problem = random_problem(3)
    problem = dataclasses.replace(problem, awake=problem.awake.at[5].set(0.0))
    state = play(problem, paths.Params(num_steps=5), prng.root_key(0)).state
    after, info = jax.jit(paths.step)(problem, paths.Params(num_steps=1), state)
    np.testing.assert_allclose(info.probabilities, problem.prior)
    for name in ("cumulative", "rounds", "meta", "learner_loss", "leader_loss"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, name), getattr(state, name))
    assert after.step == state.step + 1


def test_a_group_that_never_wakes_changes_nothing(x64):
    problem = random_problem(4, noise=False)
    asleep = jnp.zeros((60, 1))
    wider = dataclasses.replace(
        problem, awake=jnp.concatenate([problem.awake, asleep], axis=1), prior=jnp.full(4, 1 / 4)
    )
    params, key = paths.Params(num_steps=60), prng.root_key(5)
    small, large = (play(p, params, key) for p in (problem, wider))
    np.testing.assert_allclose(small.regret, large.regret[:3], atol=1e-12)
    np.testing.assert_array_equal(small.trace.moves, large.trace.moves[:, :3])


def test_played_group_follows_the_probabilities():
    """Sleepers are never played, and the played loss is that of the played group."""
    problem = random_problem(6, noise=False)
    trace = play(problem, paths.Params(num_steps=60), prng.root_key(1)).trace
    played = np.asarray(trace.played)
    rows = np.arange(60)
    assert np.all(np.asarray(problem.awake)[rows, played] == 1)
    np.testing.assert_array_equal(trace.played_loss, np.asarray(trace.leader_loss)[rows, played])
    assert len(set(played)) == 3


@pytest.mark.optimized
@pytest.mark.parametrize("first", [0, 700, 1500])
def test_law_does_not_depend_on_the_windows(first):
    law = draw_law(prng.root_key(2), side=3, sizes=(2, 3), horizon=3000.0)
    whole, part = window_of(law, 0, 3000), window_of(law, jnp.int32(first), 600)
    jax.tree.map(lambda w, p: np.testing.assert_array_equal(w[first : first + 600], p), whole, part)
    costs, awake = part
    assert awake.shape == (600, law.num_groups)
    np.testing.assert_array_equal(awake.sum(axis=1), 3)  # one value of each attribute, and everybody
    assert all(e.min() >= 0 and e.max() <= 1 for e in costs)


@pytest.mark.optimized
def test_windows_of_a_stream_end_as_the_whole_does():
    law = draw_law(prng.root_key(3), side=3, sizes=(2, 2), horizon=90.0)
    params, key = paths.Params(num_steps=30), prng.root_key(4)

    def window(first, rounds):
        costs, awake = window_of(law, jnp.int32(first), rounds)
        prior = jnp.full(law.num_groups, 1 / law.num_groups)
        return paths.Problem(costs, awake, prior, first_round=jnp.int32(first))

    problem = window(0, 90)
    whole = play(problem, paths.Params(num_steps=90), key).state
    state = paths.init(problem, params, key)
    for first in (0, 30, 60):
        state = play(window(first, 30), params, None, state=state).state
    jax.tree.map(np.testing.assert_array_equal, whole._replace(key=None), state._replace(key=None))


def bad(**changes):
    problem = random_problem(0, rounds=4)
    return lambda: dataclasses.replace(problem, **changes)


ONES = np.ones((4, 3, 2)), np.ones((4, 2, 3))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (bad(costs=Edges(jnp.zeros((4, 1, 0)), jnp.zeros((4, 0, 1)))), "grid side k must be >= 2, got 1"),
        (bad(costs=Edges(1.5 * ONES[0], ONES[1])), r"costs.horizontal must lie in \[0, 1\], got 1.5"),
        (bad(costs=Edges(ONES[0], ONES[1] * np.nan)), r"costs.vertical must lie in \[0, 1\], got nan"),
        (bad(costs=Edges(ONES[0][:3], ONES[1])), r"costs.horizontal must have shape \(4, 3, 2\), got \(3, 3, 2\)"),
        (bad(awake=jnp.full((4, 3), 0.5)), "awake must be 0 or 1, got 0.5"),
        (bad(awake=jnp.zeros((4, 0)), prior=jnp.zeros(0)), "number of groups must be >= 1, got 0"),
        (bad(prior=jnp.asarray([0.5, 0.25, 0.5])), "prior must sum to 1"),
        (bad(prior=jnp.asarray([1.0, 0.0, 0.0])), "prior must be positive and finite, got 0.0"),
        (bad(noise=Edges(ONES[0], ONES[1])), "noise.horizontal must have shape"),
    ],
)
def test_bad_input_is_one_line(build, message):
    with pytest.raises(ValueError, match=message):
        paths.run(build(), paths.Params(num_steps=4), prng.root_key(0))


def test_missing_key_and_missing_rounds_are_errors():
    problem = random_problem(0, rounds=4)
    with pytest.raises(ValueError, match="key must be a PRNG key"):
        paths.run(problem, paths.Params(num_steps=4))
    with pytest.raises(ValueError, match=r"Params.num_steps must be <= 4 \(the problem has 4 rounds"):
        paths.run(problem, paths.Params(num_steps=5), prng.root_key(0))
    with pytest.raises(ValueError, match="side must be >= 2, got 1"):
        draw_law(prng.root_key(0), side=1, sizes=(2,), horizon=1.0)
