"""Balanced assignment by exact minimisation of its dual, all coordinates at once, on the device that holds the scores.

With the other biases fixed token i takes expert k if p_k > need_ik, its K-th best offer without k less s_ik. Every p_k
between the L-th and the (L+1)-th smallest need gives k exactly L tokens and minimises D in this coordinate; the
midpoint is taken. Sweeps change all coordinates at once (Jacobi) by a share omega of the way: at a minimum of a
location family one sweep multiplies the error by 1 - omega E / (E - 1), so that omega = (E - 1) / E acts like Newton's
method; undamped sweeps oscillate for ever where E = 2. Three sweeps at (E - 1) / E and then 0.8 is what `Params` says.
One sweep costs a top-(K+1) of each row and an order statistic of each column.

With equal loads the assignment is optimal (`Result.certified`). Exact ties between tokens can stop short of that: see
`without_ties`. Tokens may be split over a mesh: counts are summed, and the order statistics are exact all the same.
Source: none known to us; derived from the dual in `assignment`. `bertsekas:88` has the same coordinates in auctions.

Letters: `T` tokens, `E` experts, `K` experts per token, `L` = K T / E.
"""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from pallas_kernels import topk_route as _kernel
from research.balancing import assignment
from research.balancing.assignment import Problem
from research.balancing.bias_update import load_error
from research.core import loops, status
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key

__all__ = [
    "METHODS", "Info", "Params", "Problem", "Result", "State", "Swept", "balanced_quantile", "example",
    "gauss_seidel_sweep", "init", "run", "run_sharded", "step", "sweep", "validate", "without_ties",
]  # fmt: skip

#: How order statistics are found: by sorting, or by bisection on the numbers' bits. Equal to the last bit.
METHODS = ("sort", "bisect")


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # sweeps by one call of `run`
    damping: float | Float[Array, ""] = 0.8  # omega in (0, 1], after the first sweeps
    first_sweeps: int | Int[Array, ""] = 3  # sweeps with omega = (E - 1) / E
    method: str = eqx.field(static=True, default="bisect")  # of METHODS; "sort" on one device only
    axis: str | None = eqx.field(static=True, default=None)  # mesh axis that tokens are split over, in `shard_map`

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.in_range("Params.damping", self.damping, 0, 1)
        checks.one_of("Params.method", self.method, METHODS if self.axis is None else ("bisect",))


class State(NamedTuple):
    step: Int[Array, ""]  # sweeps done
    bias: Float[Array, " E"]  # p, of mean 0


class Info(NamedTuple):
    """The situation under a bias: in a trace, the one that the sweep began with."""

    bias: Float[Array, " E"]
    load: Int[Array, " E"]  # A(p), in tokens
    value: Float[Array, ""]  # V(p)
    dual: Float[Array, ""]  # D(p), an upper bound on the optimum


class Result(NamedTuple):
    bias: Float[Array, " E"]
    last: Info  # under the last bias
    certified: Bool[Array, ""]  # equal loads: the assignment is optimal and D(p) its value
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


class Swept(NamedTuple):
    """One sweep: the situation before it, and the bias after it."""

    bias: Float[Array, " E"]
    before: Info


def _ordered_bits(x):
    """Signed integers in the order of finite floats and infinities."""
    kind = {2: jnp.int16, 4: jnp.int32, 8: jnp.int64}[x.dtype.itemsize]
    bits = jax.lax.bitcast_convert_type(x, kind)
    return jnp.where(bits < 0, bits ^ jnp.iinfo(kind).max, bits)


def _from_ordered_bits(bits, dtype):
    bits = jnp.where(bits < 0, bits ^ jnp.iinfo(bits.dtype).max, bits)
    return jax.lax.bitcast_convert_type(bits, dtype)


def _total(x, axis):
    return x if axis is None else jax.lax.psum(x, axis)


def _bisected(need, low, high, axis):
    """Order statistics of each column, of ranks `low` <= `high` <= low + 2 from 1; counts are summed over the mesh."""
    bits = _ordered_bits(need)
    extreme = (lambda op, x: x) if axis is None else (lambda op, x: op(x, axis))
    below = extreme(jax.lax.pmin, bits.min(axis=0)) - 1
    top = extreme(jax.lax.pmax, bits.max(axis=0))

    def count(limit):
        return _total(jnp.sum(bits <= limit[None], axis=0, dtype=jnp.int32), axis)

    def halve(_, bracket):
        below, reaching = bracket
        middle = (below & reaching) + ((below ^ reaching) >> 1)  # rounded down, without overflow
        enough = count(middle) >= low
        return jnp.where(enough, below, middle), jnp.where(enough, middle, reaching)

    _, first = jax.lax.fori_loop(0, 8 * need.dtype.itemsize, halve, (below, top))
    found = first
    for further in (1, 2):
        larger = jnp.where(bits > found[None], bits, jnp.iinfo(bits.dtype).max)
        following = jnp.minimum(extreme(jax.lax.pmin, larger.min(axis=0)), top)
        step_up = (low + further <= high) & (count(found) < low + further)
        found = jnp.where(step_up, following, found)
    return _from_ordered_bits(first, need.dtype), _from_ordered_bits(found, need.dtype)


def balanced_quantile(
    need: Float[Array, "T E"], total: Int[Array, ""], *, method: str = "bisect", axis: str | None = None
) -> Float[Array, " E"]:
    """The midpoint between the needs of ranks floor(L) and ceil(L) + 1 of each column: floor(L) to ceil(L) lie below.

    Args:
      need: +inf for tokens that never take the expert; under `axis` the device's own rows.
      total: K T, of all devices; L = total / E.
      method: of METHODS.
      axis: mesh axis of the tokens, in `shard_map`; needs "bisect".
    """
    num_experts = need.shape[1]
    tokens = _total(jnp.int32(need.shape[0]), axis)
    low = jnp.maximum(total // num_experts, 1)
    high = jnp.minimum(-(-total // num_experts) + 1, tokens)
    if method == "sort":
        columns = jnp.sort(need.T, axis=1)
        lower, upper = columns[:, low - 1], columns[:, high - 1]
    else:
        lower, upper = _bisected(need, low, high, axis)
    # Where nobody else can come, the last need is as good as any.
    return jnp.where(jnp.isfinite(upper), lower + (upper - lower) / 2, lower)


def _situation(problem, bias, found, axis):
    """`Info` from a routing of the device's tokens."""
    load = _total(found.load, axis)
    value = _total(assignment.exact_sum(found.score.sum(axis=-1)), axis)
    return Info(bias, load, value, value - bias @ load_error(load, bias.dtype))


def sweep(
    problem: Problem,
    bias: Float[Array, " E"],
    damping: float | Float[Array, ""],
    *,
    method: str = "bisect",
    axis: str | None = None,
) -> Swept:
    """One damped Jacobi sweep from `bias`; the new bias has mean 0. With K = E nothing is to be done.

    Args:
      damping: omega; the whole way is 1.
      method, axis: as in `balanced_quantile`.
    """
    scores, k = problem.scores, problem.top_k
    partial = k < problem.num_experts
    found = _kernel.topk_route(scores, bias, k, threshold=partial, valid=problem.valid)
    before = _situation(problem, bias, found, axis)
    if not partial:
        return Swept(bias, before)
    biased = scores + bias[None]
    last = jnp.take_along_axis(biased, jnp.minimum(found.index[:, -1:], problem.num_experts - 1), axis=1)
    need = jnp.where(biased >= last, found.threshold[:, None], last) - scores
    if problem.valid is not None:
        need = jnp.where(problem.valid[:, None], need, jnp.inf)
    goal = balanced_quantile(need, before.load.sum(), method=method, axis=axis)
    moved = bias + damping * (goal - bias)
    return Swept(moved - moved.mean(), before)


def gauss_seidel_sweep(problem: Problem, bias: Float[Array, " E"]) -> Float[Array, " E"]:
    """Exact minimisation of one coordinate after the other, first expert first: E sorts in a row, without damping."""
    k, total = problem.top_k, jnp.int32(problem.top_k * problem.scores.shape[0])

    def minimise(expert, bias):
        others = (problem.scores + bias[None]).at[:, expert].set(-jnp.inf)
        need = jax.lax.top_k(others, k)[0][:, -1] - problem.scores[:, expert]
        # Of one column only; `total` belongs to all E of them.
        low, high = total // bias.shape[0], -(-total // bias.shape[0]) + 1
        ordered = jnp.sort(need)
        ranks = jnp.clip(jnp.stack([low, high]), 1, need.shape[0]) - 1
        return bias.at[expert].set(ordered[ranks].mean())

    return jax.lax.fori_loop(0, bias.shape[0], minimise, bias)


def without_ties(scores: Float[Array, "T E"], scale: float | None = None) -> Float[Array, "T E"]:
    """Scores with up to `scale` times their range added, differently for every entry: equal tokens part.

    Args:
      scale: None for eight units in the last place, about 1e-6 in float32.
    """
    tokens, num_experts = scores.shape
    scale = 8 * jnp.finfo(scores.dtype).eps if scale is None else scale
    # Multiples of two irrational numbers, modulo one: evenly spread, and no generator is needed.
    row = (jnp.arange(tokens, dtype=scores.dtype) * 0.6180339887498949) % 1
    column = (jnp.arange(num_experts, dtype=scores.dtype) * 0.7548776662466927) % 1
    return scores + scale * (scores.max() - scores.min()) * ((row[:, None] + column[None]) % 1)


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for bad scores or K, see `assignment.validate`."""
    del params
    assignment.validate(problem)


def init(problem: Problem, params: Params, key: Key | None = None, *, bias: Float[Array, " E"] | None = None) -> State:
    """At `bias`, zero by default: the last batch's bias is a warm start. `key` is not used."""
    del key
    validate(problem, params)
    dtype = problem.scores.dtype
    if bias is None:
        return State(jnp.int32(0), jnp.zeros(problem.num_experts, dtype))
    checks.shape("bias", bias, (problem.num_experts,))
    return State(jnp.int32(0), jnp.asarray(bias, dtype))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One sweep."""
    e = problem.num_experts
    damping = jnp.where(state.step < params.first_sweeps, (e - 1) / e, params.damping).astype(state.bias.dtype)
    swept = sweep(problem, state.bias, damping, method=params.method, axis=params.axis)
    return State(state.step + 1, swept.bias), swept.before


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` sweeps, from a bias of zero or from where `state` stopped."""
    state = init(problem, params, key) if state is None else state
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    found = _kernel.topk_route(problem.scores, state.bias, problem.top_k, valid=problem.valid)
    last = _situation(problem, state.bias, found, params.axis)
    return Result(state.bias, last, assignment.is_balanced(last.load), state, trace, status.of((state, last)))


def run_sharded(problem: Problem, params: Params, state: State | None = None, *, mesh: Mesh) -> Result:
    """`run` with the tokens split over the axis `data` of a mesh: the biases of one device, to the bit.

    Raises ValueError for a mesh without the axis, or tokens that its devices do not divide (pad with `valid`).
    """
    axis = "data"
    checks.require(axis in mesh.shape, "mesh", f"have an axis {axis!r}", tuple(mesh.shape))
    tokens, devices = problem.scores.shape[0], mesh.shape[axis]
    checks.require(tokens % devices == 0, "scores", f"have T divisible by the {devices} devices", tokens)
    state = init(problem, params) if state is None else state
    params = dataclasses.replace(params, axis=axis, method="bisect")
    split = jax.shard_map(
        lambda problem, state: run(problem, params, state=state),
        mesh=mesh,
        in_specs=(P(axis), P()),
        out_specs=P(),
    )
    return split(problem, state)


def example(key: Key) -> tuple[Problem, Params]:
    """Normal scores of 24 tokens and four experts, two for each; eight sweeps."""
    return Problem(jax.random.normal(key, (24, 4)), 2), Params(num_steps=8)
