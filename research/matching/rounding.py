"""Rounding LP-OnOpt online: free nodes propose at given rates, the heaviest proposer is matched, the others may leave.

Modes, all on the same proposal rates (`research.matching.rates`):
  "closed_form": the best proposer is drawn from its law, and node i discarded with probability
                 p (v_i - m_i) / (1 - p m_i), where m_i = P[i is the best proposer]. The default, and typed too.
  "pivotal":     proposers by ordered pivotal sampling; every proposer but the best is discarded with probability p_t,
                 independently of all else, the arrival included.
  "independent": as "pivotal" with independent proposals.
  "bins":        as "pivotal"; nodes with rates up to `theta` share bins, with at most one proposer for each bin.
  "keep":        "closed_form" without discards: no guarantee, often better on benign inputs. Typed too.
  "single":      one offer, to node i with its rate whoever is free, and no discards (`rates.half_rates`). Typed too.
In the first four a node is free before t with probability 1 - h(y_it) exactly, and free nodes are negatively dependent.
Many replicates at once: `research.matching.simulation`, with the same draws.
Source: `braverman:24`; the discards of "pivotal" and the closed form are derived here, and checked by `exact_law`.

Letters: `n` offline nodes, `T` times, `J` types.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import prng, status
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.matching import draws, pivotal, problems
from research.matching import rates as rates_module

__all__ = [
    "MODES", "TYPED_MODES", "Info", "Params", "Problem", "Result", "State", "bins", "example", "from_allocation",
    "init", "run", "step", "validate", "weight_order",
]  # fmt: skip

TYPED_MODES = ("closed_form", "keep", "single")
MODES = (*TYPED_MODES, "pivotal", "independent", "bins")


class Problem(eqx.Module):
    """An instance as in `problems.Problem`, and how often each free node proposes."""

    weights: Float[Array, "n T *J"]
    arrivals: Float[Array, "T *J"]
    rates: Float[Array, "n T *J"]  # in [0, 1]

    @property
    def typed(self) -> bool:
        return self.arrivals.ndim == 2


class Params(eqx.Module):
    num_steps: int | None = eqx.field(static=True, default=None)  # played by one call of `run`; None: all T
    mode: str = eqx.field(static=True, default="closed_form")
    theta: float | None = None  # in (0, 1]; mode "bins" only

    def __check_init__(self):
        if self.num_steps is not None:
            checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.one_of("Params.mode", self.mode, MODES)
        needs = "be given with mode 'bins', and with no other"
        checks.require((self.theta is not None) == (self.mode == "bins"), "Params.theta", needs, self.theta)
        if self.theta is not None:
            checks.positive("Params.theta", self.theta)
            checks.in_range("Params.theta", self.theta, 0, 1)


class State(NamedTuple):
    step: Int[Array, ""]
    free: Bool[Array, " n"]  # discarded nodes are not free
    value: Float[Array, ""]  # weight matched so far
    key: Key


class Info(NamedTuple):
    matched: Int[Array, ""]  # the node, or -1
    arrived: Int[Array, ""]  # the type (0 if Bernoulli), or -1
    reward: Float[Array, ""]


class Result(NamedTuple):
    value: Float[Array, ""]
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


class _Time(NamedTuple):
    """What a time brings; a Bernoulli problem has one type."""

    weights: Float[Array, "J n"]
    order: Int[Array, "J n"]  # nodes by decreasing weight, ties by index
    arrivals: Float[Array, " J"]
    rates: Float[Array, "J n"]


def from_allocation(problem: problems.Problem, x, rescaling=rates_module.EDGE, *, validate: bool = True) -> Problem:
    """The problem of rounding a feasible `x`; see `rates.proposal_rates` for what is refused."""
    proposals = rates_module.proposal_rates(problem, x, rescaling, validate=validate)
    return Problem(problem.weights, problem.arrivals, proposals)


def weight_order(weights: Float[Array, "... n"]) -> Int[Array, "... n"]:
    """Nodes by decreasing weight; ties go to the smaller index. Part of what makes a run reproducible."""
    return jnp.argsort(-weights, axis=-1, stable=True).astype(jnp.int32)


def bins(rates: Float[Array, " n"], theta: Float[Array, ""]) -> tuple[Int[Array, " n"], Float[Array, " n"]]:
    """Next-fit packing in index order of the nodes with rate in (0, theta], into bins of total rate at most 1.

    Returns: the first node of each node's bin, and the load of the bin before it. Nodes above `theta` are alone.
    """

    def pack(carry, item):
        first, load = carry
        index, rate = item
        small = (rate > 0) & (rate <= theta)
        opens = small & ((first < 0) | (load + rate > 1))
        first, load = jnp.where(opens, index, first), jnp.where(opens, 0, load)
        label, offset = jnp.where(small, first, index), jnp.where(small, load, 0)
        return (first, load + jnp.where(small, rate, 0)), (label, offset)

    indices = jnp.arange(rates.shape[0], dtype=jnp.int32)
    _, packed = jax.lax.scan(pack, (jnp.int32(-1), jnp.zeros((), rates.dtype)), (indices, rates))
    return packed


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError naming argument, index and value; traced arrays are checked for their shapes only."""
    problems.validate(problems.Problem(problem.weights, problem.arrivals))
    checks.shape("rates", problem.rates, (problem.weights.shape[0], *problem.arrivals.shape))
    checks.in_range("rates", problem.rates, 0, 1)
    if problem.typed:
        checks.one_of("Params.mode of a typed problem", params.mode, TYPED_MODES)


_validate = validate  # `run` has a flag of the same name


def init(problem: Problem, params: Params, key: Key) -> State:
    """Everybody free before the first time; `key` is the replicate's own."""
    del params
    free = jnp.ones(problem.weights.shape[0], bool)
    return State(jnp.zeros((), jnp.int32), free, jnp.zeros((), problem.weights.dtype), prng.stream(key, "rounding"))


def _row(array, axis, index, typed):
    """The row of one time, types first; past the end it is 0, so that nobody arrives or proposes."""
    row = jnp.moveaxis(array, axis, 0).at[index].get(mode="fill", fill_value=0)
    return row.T if typed else row[None]


def _preferences(problem, index):
    """Weights and their order at a time, each `[J, n]`."""
    weights = _row(problem.weights, 1, 0 if _stationary(problem) else index, problem.typed)
    return weights, weight_order(weights)


def _supply(problem, index):
    """Arrival probabilities `[J]` and rates `[J, n]` at a time."""
    arrivals = _row(problem.arrivals, 0, index, problem.typed)
    return arrivals, _row(problem.rates, 1, index, problem.typed)


def _stationary(problem):
    return problem.typed and problem.weights.shape[1] == 1


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One time: who arrives, whom they get, who leaves. Past the last time nothing happens."""
    return _play(params, _Time(*_preferences(problem, state.step), *_supply(problem, state.step)), state)


def _play(params, time, state):
    words, nodes = draws.key_words(state.key), jnp.arange(state.free.shape[0], dtype=jnp.uint32)
    event = draws.event(words, state.step)
    arrived, kind = draws.arrival(event, time.arrivals)
    if params.mode in ("closed_form", "keep"):
        best, discarded = _closed_form(time, state, event, kind)
        if params.mode == "closed_form":
            drawn = draws.discard_words(words, state.step // draws.STEPS_PER_DRAW, nodes)
            which, begin = draws.half_word(state.step % draws.STEPS_PER_DRAW)
            uniforms = draws.discard_uniforms(jnp.where(which == 0, *drawn), begin, event.shared)
            discarded = uniforms * discarded[0] < discarded[1]
        else:
            discarded = jnp.zeros_like(best)
    elif params.mode == "single":
        rates = draws.on_grid(time.rates[kind])
        offset = jnp.cumsum(rates) - rates
        best = state.free & (offset <= event.match) & (event.match < offset + rates)
        discarded = jnp.zeros_like(best)
    else:
        proposal, fate = draws.proposal_uniforms(words, state.step, nodes)
        proposers = _proposers(params, time, state, proposal, event.match)
        rank = jnp.argsort(time.order[0])
        best = proposers & (rank == jnp.min(jnp.where(proposers, rank, rank.shape[0])))
        discarded = proposers & ~best & (fate < time.arrivals[0])
    best = best & arrived
    reward = jnp.sum(jnp.where(best, time.weights[kind], 0))
    matched = jnp.max(jnp.where(best, nodes.astype(jnp.int32), -1))
    info = Info(matched, jnp.where(arrived, kind, -1), reward)
    return State(state.step + 1, state.free & ~best & ~discarded, state.value + reward, state.key), info


def _closed_form(time, state, event, kind):
    """Who is best proposer to type `kind`; and (a, b): node i is discarded if its uniform U_i has U_i a_i < b_i."""
    wanted = jnp.where(state.free, draws.on_grid(time.rates), 0)
    ranked = jnp.take_along_axis(wanted, time.order, axis=1)
    # Multiples of 2^-24: exact up to 1 in any order of summation, and beyond 1 it does not matter.
    ahead = jnp.minimum(1, jnp.pad(jnp.cumsum(ranked, axis=1), ((0, 0), (1, 0)))[:, :-1])
    ahead = jnp.take_along_axis(ahead, jnp.argsort(time.order, axis=1), axis=1)
    best = jnp.minimum(wanted, 1 - ahead)
    chosen = (ahead[kind] <= event.match) & (event.match < ahead[kind] + best[kind])
    if best.shape[0] == 1:  # p (v - m) / (1 - p m) without a product that a compiler could fuse with a sum
        return chosen, (draws.odds(time.arrivals[0]) - best[0], wanted[0] - best[0])
    p = time.arrivals.astype(jnp.float32)[:, None]
    return chosen, (1 - jnp.sum(p * best, axis=0), jnp.sum(p * (wanted - best), axis=0))


def _proposers(params, time, state, uniforms, last_uniform):
    rates = time.rates[0].astype(jnp.float32)
    wanted = jnp.where(state.free, rates, 0)
    if params.mode == "independent":
        return uniforms < wanted
    if params.mode == "bins":
        label, offset = bins(rates, params.theta)
        shared = uniforms[label]
        return state.free & (offset <= shared) & (shared < offset + rates)
    order = time.order[0]
    ranked = jnp.concatenate([uniforms[order], last_uniform[None]])
    return pivotal.select(ranked, wanted[order])[jnp.argsort(order)]


def run(
    problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None, validate: bool = True
) -> Result:
    """Plays `params.num_steps` times (all of them if None) from `state`, or from the start with `key`.

    Raises: ValueError for bad input, and for more steps than the problem has times left.
    """
    if state is None:
        checks.require(key is not None, "key", "be given unless a state is", None)
        state = init(problem, params, key)
    if validate:
        _validate(problem, params)
    num_steps = problem.arrivals.shape[0] if params.num_steps is None else params.num_steps
    checks.steps_left(num_steps, problem.arrivals.shape[0], state.step, ", the times left")
    return _run(problem, params, state, num_steps)


@functools.partial(jax.jit, static_argnames="num_steps")
def _run(problem, params, state, num_steps):
    # Rows are prepared and sorted before the loop: under vmap over keys that is done once for all replicates.
    steps = state.step + jnp.arange(num_steps)
    supplies = jax.vmap(lambda t: _supply(problem, t))(steps)
    fixed = _preferences(problem, 0) if _stationary(problem) else None
    preferences = None if fixed else jax.vmap(lambda t: _preferences(problem, t))(steps)

    def play(carry, time):
        return _play(params, _Time(*(fixed or time[0]), *time[1]), carry)

    state, trace = jax.lax.scan(play, state, (preferences, supplies))
    return Result(state.value, state, trace, status.of((state.value, trace.reward)))


def example(key: Key) -> tuple[Problem, Params]:
    """Six nodes, ten arrivals, rates that discard often."""
    instance = problems.er(prng.stream(key, "instance"), 0.7, 6, 10)
    proposals = jax.random.uniform(prng.stream(key, "rates"), instance.weights.shape, instance.weights.dtype, 0.1, 0.6)
    return Problem(instance.weights, instance.arrivals, proposals), Params(num_steps=10)
