"""Online shortest paths on a grid, with one perturbed leader per group and AdaNormalHedge over the groups.

Every round prices the edges of a k x k grid; a path goes right or down from corner to corner and loses its mean edge
cost. Each group follows the perturbed leader on its own rounds: the cheapest path for its cumulative costs + U / eps_n,
U uniform on [0, 1) afresh per round, group and edge, n the group's round number. The learner plays the path of a group
drawn by sleeping experts. An action is a path, not an average of paths, so no combination by averaging is offered.

Source: `kalai:05` (follow the perturbed leader, additive version), `acharya:24` (one oracle learner per group),
`luo:15` (`sleeping_experts`). Guarantees: `leader_regret_bound` in expectation, `sleeping_experts.regret_bound` for
every outcome of the draws, `regret_bound` for their sum.

Shape letters: `T` rounds, `G` groups, `k` grid side. Losses are mean edge costs, in [0, 1]; multiply by 2 (k - 1) for
cost units.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import loops, prng, status
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.regret import _streams, sleeping_experts
from research.regret.grid import Edges, path_cost, shortest_path
from research.regret.sleeping_experts import MetaState

__all__ = [
    "Info", "Params", "Problem", "Result", "State", "example", "hindsight", "init", "leader_regret_bound",
    "perturbation_scale", "regret", "regret_bound", "run", "step", "validate",
]  # fmt: skip


class Problem(eqx.Module):
    """Edge costs and group memberships, round by round.

    `first_round` is the absolute number of row 0, so that a long stream can be fed window by window.
    """

    costs: Edges  # horizontal [T, k, k-1], vertical [T, k-1, k], in [0, 1]
    awake: Float[Array, "T G"]  # 0 or 1
    prior: Float[Array, " G"]  # > 0, sums to 1
    noise: Edges | None = None  # U of every round and group, [T, G, ...]; None: drawn from the state's key
    first_round: int | Int[Array, ""] = 0


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # rounds played by one call of `run`
    perturbation: float | Float[Array, ""] = 1.0  # multiplies 1 / eps_n; 1 is the theorem's, 0 follows the leader

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.in_range("Params.perturbation", self.perturbation, 0.0, jnp.finfo(jnp.float32).max)


class State(NamedTuple):
    step: Int[Array, ""]  # rounds done
    key: Key
    cumulative: Edges  # [G, ...] sum of costs over each group's rounds
    rounds: Int[Array, " G"]
    meta: MetaState
    learner_loss: Float[Array, " G"]  # sum over each group's rounds of the learner's expected loss
    leader_loss: Float[Array, " G"]  # the same of the group's own perturbed leader


class Info(NamedTuple):
    loss: Float[Array, ""]  # expected over the drawn group: probabilities @ leader_loss
    played: Int[Array, ""]  # the group whose path was taken
    played_loss: Float[Array, ""]
    probabilities: Float[Array, " G"]
    leader_loss: Float[Array, " G"]  # of every group's path, sleepers' too
    moves: Bool[Array, "G 2*(k-1)"]  # every group's path: True is down


class Result(NamedTuple):
    regret: Float[Array, " G"]  # against each group's best path in hindsight, over its rounds
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


def perturbation_scale(side: int, rounds) -> Float[Array, "..."]:
    """1 / eps_n, eps_n = sqrt(D / (R A n)): the range of the perturbation of a group's n-th round, in cost units.

    D = 4 (k - 1) is the L1 distance between two paths at most, R = 2 (k - 1) the largest cost of a path and
    A = 2 k (k - 1) the largest L1 norm of a cost vector, `kalai:05`, Theorem 1.1.
    """
    diameter, largest_cost, largest_norm = _constants(side)
    return jnp.sqrt(largest_cost * largest_norm * jnp.asarray(rounds) / diameter)


def _constants(side: int) -> tuple[int, int, int]:
    return 4 * (side - 1), 2 * (side - 1), 2 * side * (side - 1)


def leader_regret_bound(side: int, rounds) -> Float[Array, "..."]:
    """Expected regret of the perturbed leader over n rounds <= 3 sqrt(D R A n) / (2 (k - 1)), in loss units.

    For costs fixed in advance (oblivious). `kalai:05`, Theorem 1.1, gives eps R A n + D / eps for a fixed eps; with
    eps_n decreasing the first term sums to 2 sqrt(D R A n) and the last perturbation costs sqrt(D R A n).
    """
    diameter, largest_cost, largest_norm = _constants(side)
    return 3.0 * jnp.sqrt(diameter * largest_cost * largest_norm * jnp.asarray(rounds)) / largest_cost


def regret_bound(side: int, state: State, prior: Float[Array, " G"]) -> Float[Array, " G"]:
    """Regret of the learner on each group: that of its leader, in expectation, plus that of the meta on this path."""
    return leader_regret_bound(side, state.rounds) + sleeping_experts.regret_bound(prior, state.meta.cumulative)


def hindsight(state: State) -> Float[Array, " G"]:
    """Loss of each group's best fixed path over its rounds so far; exact, from the cumulative costs."""
    side = state.cumulative.vertical.shape[-1]
    return jax.vmap(shortest_path)(state.cumulative).cost / (2 * (side - 1))


def regret(state: State) -> Float[Array, " G"]:
    """Learner's expected loss minus `hindsight`, per group; expectation over the drawn group only."""
    return state.learner_loss - hindsight(state)


def _draw_noise(key: Key, num_groups: int, side: int, dtype) -> Edges:
    """One uniform per group and edge. Keyed by group, so that adding a group leaves the others' draws alone."""

    def of_group(group):
        flat = jax.random.uniform(jax.random.fold_in(key, group), (2 * side * (side - 1),), dtype)
        right, down = jnp.split(flat, 2)
        return Edges(right.reshape(side, side - 1), down.reshape(side - 1, side))

    return jax.vmap(of_group)(jnp.arange(num_groups))


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """Round zero. Raises ValueError without a key, which draws the perturbations and the played group."""
    del params
    checks.require(key is not None, "key", "be a PRNG key (perturbations and actions are drawn)", key)
    dtype = jnp.result_type(problem.costs.horizontal, problem.prior)
    zeros = jnp.zeros(problem.prior.shape, dtype)
    cumulative = jax.tree.map(lambda e: jnp.zeros(problem.prior.shape + e.shape[1:], dtype), problem.costs)
    meta = sleeping_experts.init_meta(jnp.asarray(problem.prior, dtype))
    return State(jnp.int32(0), key, cumulative, jnp.zeros(zeros.shape, jnp.int32), meta, zeros, zeros)


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One round: every group's leader, the meta's probabilities, the losses, the updates. See `Info`.

    A tie of a leader goes right. When nobody is awake the prior is played, its loss is reported and counts for no
    group. Past the last row the loss is NaN.
    """
    row = state.step - problem.first_round
    dtype, side = state.learner_loss.dtype, problem.costs.vertical.shape[-1]
    costs = jax.tree.map(lambda e: _streams.row(e, row, fill=jnp.nan).astype(dtype), problem.costs)
    awake = _streams.row(problem.awake, row, fill=0).astype(dtype)
    prior = jnp.asarray(problem.prior, dtype)
    round_key = prng.per_step(state.key, state.step)
    if problem.noise is None:
        noise = _draw_noise(prng.stream(round_key, "perturbation"), awake.shape[0], side, dtype)
    else:
        noise = jax.tree.map(lambda u: _streams.row(u, row, fill=jnp.nan).astype(dtype), problem.noise)

    scale = params.perturbation * perturbation_scale(side, (state.rounds + 1).astype(dtype))
    perturbed = jax.tree.map(lambda c, u: c + scale[:, None, None] * u, state.cumulative, noise)
    moves = jax.vmap(shortest_path)(perturbed).moves
    leader_loss = jax.vmap(path_cost, (None, 0))(costs, moves) / (2 * (side - 1))

    probabilities = sleeping_experts.probabilities(prior, awake, *state.meta)
    loss = jnp.sum(probabilities * leader_loss)
    played = jax.random.categorical(prng.stream(round_key, "played group"), jnp.log(probabilities))
    new = State(
        state.step + 1,
        state.key,
        jax.tree.map(lambda c, e: c + awake[:, None, None] * e[None], state.cumulative, costs),
        state.rounds + awake.astype(jnp.int32),
        sleeping_experts.update(state.meta, awake, loss, leader_loss),
        state.learner_loss + awake * loss,
        state.leader_loss + awake * leader_loss,
    )
    return new, Info(loss, played, leader_loss[played], probabilities, leader_loss, moves)


def run(
    problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None, validate: bool = True
) -> Result:
    """Plays `params.num_steps` rounds; pass `state` to continue an earlier run exactly where it stopped.

    Raises ValueError for bad input (see `validate` of this module), inside jit for shapes only.
    """
    state = init(problem, params, key) if state is None else state
    if validate:
        _validate(problem, params)
        if checks.is_concrete(state.step, problem.first_round):
            _streams.require_rows(problem.awake.shape[0], params.num_steps, state.step - problem.first_round)
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(regret(state), state, trace, status.of((state, trace)))


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError naming argument, value and range: grid side < 2, costs outside [0, 1], shapes, awake, prior."""
    del params
    side = problem.costs.vertical.shape[-1]
    rounds, groups = problem.awake.shape
    checks.at_least("grid side k", side, 2)
    checks.at_least("number of rounds", rounds, 1)
    checks.at_least("number of groups", groups, 1)
    checks.shape("costs.horizontal", problem.costs.horizontal, (rounds, side, side - 1))
    checks.shape("costs.vertical", problem.costs.vertical, (rounds, side - 1, side))
    checks.in_range("costs.horizontal", problem.costs.horizontal, 0.0, 1.0)
    checks.in_range("costs.vertical", problem.costs.vertical, 0.0, 1.0)
    checks.binary("awake", problem.awake)
    checks.shape("prior", problem.prior, (groups,))
    checks.probability_vector("prior", problem.prior)
    if problem.noise is not None:
        checks.shape("noise.horizontal", problem.noise.horizontal, (rounds, groups, side, side - 1))
        checks.shape("noise.vertical", problem.noise.vertical, (rounds, groups, side - 1, side))
        checks.in_range("noise.horizontal", problem.noise.horizontal, 0.0, 1.0)
        checks.in_range("noise.vertical", problem.noise.vertical, 0.0, 1.0)


_validate = validate  # `run` has a flag of the same name


def example(key: Key) -> tuple[Problem, Params]:
    """Sixteen rounds on a 4 x 4 grid with three groups, the last one always awake."""
    horizontal = jax.random.uniform(prng.stream(key, "horizontal"), (16, 4, 3))
    vertical = jax.random.uniform(prng.stream(key, "vertical"), (16, 3, 4))
    awake = jax.random.bernoulli(prng.stream(key, "awake"), 0.6, (16, 3)).astype(jnp.float32).at[:, -1].set(1.0)
    return Problem(Edges(horizontal, vertical), awake, jnp.full(3, 1 / 3)), Params(num_steps=16)
