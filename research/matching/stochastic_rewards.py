"""Online matching with stochastic rewards: an offer succeeds with a known probability, and a failed offer is lost.

Arrivals come in an adversarial order; each may be offered to one offline node that has not succeeded yet. On success
the node earns its weight and leaves, on failure it stays and the arrival is gone. Policies, all by the largest score
among the nodes that are available and have a positive probability (ties: smaller index):

  balance            w_u p_uv f(load_u), with the load the sum of p over the offers made to u, successful or not
  perturbed_greedy   w_u p_uv (1 - exp(y_u - 1)), y_u uniform in [0, 1], drawn once
  ranking            1 - exp(y_u - 1): perturbed_greedy for unit weights and equal probabilities
  greedy             w_u p_uv
  random             a uniformly random one

Source: `huang:23` (Stochastic Balance and its analysis), `mehta:12` (the model), `goyal:23` (Perturbed Greedy).
Guarantees: `GUARANTEES`. Truth: `optimum` here, linear programs in `stochastic_oracles`. Instances:
`stochastic_problems`.

Letters: `U` offline nodes, `V` arrivals.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import prng, status
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.matching.stochastic_problems import Problem, ad_clicks, validate

__all__ = [
    "GUARANTEES", "Guarantee", "Info", "Params", "Problem", "Result", "State", "example", "exact_value", "exponential",
    "init", "optimum", "run", "step", "validate",
]  # fmt: skip

Policy = Literal["balance", "perturbed_greedy", "ranking", "greedy", "random"]
_POLICIES = ("balance", "perturbed_greedy", "ranking", "greedy", "random")
#: Policies whose offers depend on past outcomes alone: what `exact_value` can enumerate.
_DETERMINISTIC = ("balance", "greedy")
#: Arrivals drawn together. Part of the definition of the draws; short, as episodes are.
_BLOCK = 64
_MAX_EXACT_ARRIVALS = 16
_MAX_OPTIMUM_NODES = 24


class Guarantee(NamedTuple):
    """A line to draw: the policy earns at least `ratio` of the benchmark, for the probabilities named."""

    ratio: float
    policy: Policy | None  # None: no policy does better than this
    benchmark: Literal["S-OPT", "matching LP"]
    probabilities: str
    provenance: Literal["published", "recalled"]  # "recalled": of the literature, not looked up again
    source: str


#: S-OPT is the best policy that knows the graph and the order but no outcome. All are for vanishing probabilities.
GUARANTEES: dict[str, Guarantee] = {
    "balance_unequal": Guarantee(0.611, "balance", "S-OPT", "vanishing, unequal", "published", "huang:23"),
    "balance_equal": Guarantee(0.613, "balance", "S-OPT", "vanishing, equal", "published", "huang:23"),
    "balance_unequal_lp": Guarantee(0.572, "balance", "matching LP", "vanishing, unequal", "published", "huang:20"),
    "balance_equal_lp": Guarantee(0.576, "balance", "matching LP", "vanishing, equal", "published", "huang:20"),
    "perturbed_greedy": Guarantee(
        1 - 1 / math.e, "perturbed_greedy", "S-OPT", "vanishing, or p_uv = p_u p_v", "published", "goyal:23"
    ),
    "hardness_lp": Guarantee(0.621, None, "matching LP", "vanishing, equal", "recalled", "mehta:12"),
}


def exponential(load: Float[Array, " U"]) -> Float[Array, " U"]:
    """f(load) = exp(-load): decreasing and defined for every load. The papers tune f by an equation not used here."""
    return jnp.exp(-load)


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # arrivals served by one call of `run`
    policy: Policy = eqx.field(static=True, default="balance")
    #: f of `balance`: loads `[U]` >= 0 to factors > 0, decreasing.
    discount: Callable = eqx.field(static=True, default=exponential)

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.one_of("Params.policy", self.policy, _POLICIES)


class State(NamedTuple):
    step: Int[Array, ""]  # arrivals served; selects the next column
    available: Bool[Array, " U"]  # not yet successful
    load: Float[Array, " U"]
    perturbation: Float[Array, " U"]  # y in [0, 1)
    value: Float[Array, ""]  # earned so far
    key: Key  # of the draws of all steps


class Info(NamedTuple):
    offered: Int[Array, ""]  # offline node, -1 for none
    success: Bool[Array, ""]
    reward: Float[Array, ""]


class Result(NamedTuple):
    value: Float[Array, ""]
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


class _Draws(NamedTuple):
    outcome: Float[Array, "..."]  # the offer succeeds where this is below p
    choice: Float[Array, "..."]  # of `random`


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """Everybody available, no load; the perturbations are drawn from `key`, which every policy needs."""
    del params
    checks.require(key is not None, "key", "be given: outcomes are drawn from it", key)
    dtype = jnp.result_type(problem.success, jnp.float32)
    shape = (problem.success.shape[0],)
    perturbation = jax.random.uniform(prng.stream(key, "perturbation"), shape, dtype)
    return _start(perturbation, prng.stream(key, "offers"))


def _start(perturbation, key):
    zeros = jnp.zeros_like(perturbation)
    return State(jnp.int32(0), zeros == 0, zeros, perturbation, jnp.zeros((), zeros.dtype), key)


def _scores(problem, params, state, success, choice):
    """Larger is better; only entries of willing nodes are looked at."""
    gain = problem.weights * success
    if params.policy == "balance":
        return gain * params.discount(state.load)
    if params.policy == "greedy":
        return gain
    if params.policy == "random":  # the k-th willing node, k uniform: one draw, however many nodes
        willing = state.available & (success > 0)
        rank = jnp.cumsum(willing)
        return (rank == 1 + jnp.floor(choice * rank[-1]).astype(rank.dtype)).astype(gain.dtype)
    boldness = 1 - jnp.exp(state.perturbation - 1)
    return boldness if params.policy == "ranking" else gain * boldness


def _serve(problem, params, state, draws):
    """One arrival: score, offer, outcome."""
    column = problem.success.at[:, state.step].get(mode="fill", fill_value=0).astype(state.load.dtype)
    willing = state.available & (column > 0)
    scores = jnp.where(willing, _scores(problem, params, state, column, draws.choice), -jnp.inf)
    # The smallest index of a largest score, spelled out: an order of magnitude faster than argmax on a CPU.
    nodes = jnp.arange(scores.shape[0])
    chosen = jnp.min(jnp.where(willing & (scores == jnp.max(scores)), nodes, nodes.shape[0]))
    offered = nodes == chosen  # nobody where nobody is willing
    probability = jnp.sum(jnp.where(offered, column, 0))
    success = draws.outcome < probability
    reward = jnp.where(success, jnp.sum(jnp.where(offered, problem.weights, 0)), 0).astype(state.value.dtype)
    load = state.load + jnp.where(offered, column, 0)
    available = state.available & ~(offered & success)
    after = State(state.step + 1, available, load, state.perturbation, state.value + reward, state.key)
    return after, Info(jnp.where(jnp.any(offered), chosen, -1), success, reward)


def _draw(state, num_steps):
    def sampler(key, block):
        return jax.random.uniform(key, (block, 2), state.load.dtype)

    uniforms = prng.blocked(sampler, state.key, state.step, num_steps, block=_BLOCK)
    return _Draws(uniforms[:, 0], uniforms[:, 1])


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """Serves arrival `state.step`; past the last one nothing is offered."""
    return _serve(problem, params, state, jax.tree.map(lambda draws: draws[0], _draw(state, 1)))


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """Serves `params.num_steps` arrivals from `state.step` (0 without a state); pass `state` to continue exactly.

    Raises: ValueError for bad input, see `validate`, and without a key or a state.
    """
    validate(problem)
    return _run(problem, params, init(problem, params, key) if state is None else state)


@jax.jit
def _run(problem, params, state):
    draws = _draw(state, params.num_steps)
    last, trace = jax.lax.scan(lambda carry, draw: _serve(problem, params, carry, draw), state, draws)
    return Result(last.value, last, trace, status.of((last, trace)))


def exact_value(problem: Problem, params: Params) -> Float[Array, ""]:
    """Expected value of `balance` or `greedy`, over all `2^V` sequences of outcomes; ValueError for V > 16."""
    validate(problem)
    checks.one_of("Params.policy", params.policy, _DETERMINISTIC)
    num_arrivals = problem.success.shape[1]
    checks.in_range("number of arrivals", num_arrivals, 1, _MAX_EXACT_ARRIVALS)
    return _exact_value(problem, params)


@jax.jit
def _exact_value(problem, params):
    num_arrivals = problem.success.shape[1]
    outcomes = (jnp.arange(1 << num_arrivals)[:, None] >> jnp.arange(num_arrivals)[None, :]) & 1
    zeros = jnp.zeros(problem.weights.shape, jnp.result_type(problem.success, jnp.float32))

    def one(wins):
        def serve(carry, win):
            state, chance = carry
            # Below every positive probability, or above all: the outcome is forced, its chance is kept apart.
            after, info = _serve(problem, params, state, _Draws(jnp.where(win, -1.0, 2.0), jnp.zeros(())))
            column = problem.success[:, state.step]
            p = jnp.where(info.offered >= 0, column[info.offered], 0)
            return (after, chance * jnp.where(win, p, 1 - p)), None

        start = _start(zeros, prng.root_key(0))  # the key is not drawn from
        (last, chance), _ = jax.lax.scan(serve, (start, jnp.ones((), zeros.dtype)), wins == 1)
        return chance * jnp.where(chance > 0, last.value, 0)

    return jnp.sum(jax.vmap(one)(outcomes))


def optimum(problem: Problem) -> Float[Array, ""]:
    """S-OPT: the best policy that knows graph and order but no outcome, by dynamic programming over available sets.

    V_t(S) = V_{t+1}(S) + max(0, max_{u in S} p (w_u + V_{t+1}(S - u) - V_{t+1}(S))). Time `U V 2^U`, memory `2^U`.
    Raises ValueError for U > 24.
    """
    validate(problem)
    num_nodes = problem.success.shape[0]
    memory = f"be <= {_MAX_OPTIMUM_NODES} (the values of all subsets would take {2 ** (num_nodes - 27):g} GiB)"
    checks.require(num_nodes <= _MAX_OPTIMUM_NODES, "number of offline nodes", memory, num_nodes)
    return _optimum(problem)


@jax.jit
def _optimum(problem):
    num_nodes = problem.success.shape[0]

    def earlier(later, column):
        best = later
        for u in range(num_nodes):  # bit u as an axis: what is left without u is the other half, nothing is gathered
            halves = later.reshape(-1, 2, 1 << u)
            kept, without = halves[:, 1], halves[:, 0]
            offered = kept + column[u] * (problem.weights[u] + without - kept)
            target = best.reshape(-1, 2, 1 << u)
            best = target.at[:, 1].max(offered).reshape(-1)
        return best, None

    start = jnp.zeros(1 << num_nodes, jnp.result_type(problem.success, jnp.float32))
    values, _ = jax.lax.scan(earlier, start, problem.success.T, reverse=True)
    return values[-1]


def example(key: Key) -> tuple[Problem, Params]:
    """Four advertisers, twelve arrivals, served by Stochastic Balance."""
    return ad_clicks(key, 4, 12, density=0.7, median=0.3), Params(num_steps=12)
