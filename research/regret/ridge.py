"""Online linear experts, one per group: ridge regression and the Vovk-Azoury-Warmuth forecaster.

Each expert learns on the rounds of its group only, and predicts them before it sees their labels. With `P` the inverse
of `lambda I + sum x x'` over the group's past rounds, `raw = x'theta` and `s = x'P x`,

    prediction = raw (ridge)  or  raw / (1 + s) (VAW)
    P <- P - (P x)(P x)' / (1 + s),   theta <- theta + P x (y - raw) / (1 + s).

Three forms compute the same predictions. `recursion` is the above, `square_root` carries a root of `P` (Potter) and so
keeps it positive definite, `blocked` learns `block_size` rounds at a time with matrix products
(`pallas_kernels.prequential_ridge`), and `compacted` does the same on each group's own rounds only, so that its work is
`sum_g T_g d^2` instead of `T G d^2`. None of them forms `theta = P b`, which loses all digits in float32.

Source: `vovk:01`, `azoury:01` (forecasters and bounds), `bierman:77` (square root).
Guarantees: `ridge_loss_bound`, `vaw_loss_bound`, `logdet_bound`.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from pallas_kernels.prequential_ridge import compact, prequential_ridge
from research.core import loops, prng, status, validate
from research.core.types import Array, Float, Int, Key

__all__ = [
    "FORECASTERS", "FORMS", "Forecast", "Info", "Params", "Problem", "Result", "State", "absorb", "add_exactly",
    "awake_in", "example", "forecast", "init", "labels_of", "logdet_bound", "ridge_loss_bound", "rows_shown", "run",
    "step", "vaw_loss_bound",
]  # fmt: skip

FORECASTERS = ("ridge", "vaw")
FORMS = ("recursion", "square_root", "blocked", "compacted")
_HIGHEST = jax.lax.Precision.HIGHEST


class Problem(eqx.Module):
    """A table of `N` rows with `d` features and `G` groups, shown in `T` rounds.

    Replicates that differ in the order only share one table: `vmap` over `order` and nothing else.
    """

    features: Float[Array, "N d"]
    labels: Float[Array, " N"]
    awake: Float[Array, "N G"]  # 0 or 1, of any dtype: whether the row belongs to the group
    order: Int[Array, " T"] | None = None  # row shown in each round; negative: no round. None: the rows as they are


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True, default=64)  # rounds; those past the end of the problem are no rounds
    regularization: float = 1.0  # lambda > 0; traced
    forecaster: str = eqx.field(static=True, default="ridge")
    form: str = eqx.field(static=True, default="blocked")
    block_size: int = eqx.field(static=True, default=32)  # rounds learnt together by the forms blocked and compacted

    def __check_init__(self):
        validate.at_least("Params.num_steps", self.num_steps, 1)
        validate.at_least("Params.block_size", self.block_size, 1)
        validate.one_of("Params.forecaster", self.forecaster, FORECASTERS)
        validate.one_of("Params.form", self.form, FORMS)


class State(NamedTuple):
    step: Int[Array, ""]  # rounds seen, int32
    factor: Float[Array, "G d d"]  # P, or its root M with P = M M' in the form square_root
    weights: Float[Array, "G d"]  # theta
    logdet: Float[Array, " G"]  # sum of ln(1 + s) = ln det(I + X'X / lambda), nats
    ridge_value: Float[Array, " G"]  # sum of (y - raw)^2 / (1 + s) = min_u lambda |u|^2 + sum (u'x - y)^2
    carry: Float[Array, "2 G"]  # what rounding took from the two sums above


class Info(NamedTuple):
    predictions: Float[Array, " G"]  # not clipped; 0 from an expert asleep, which does not speak
    leverage: Float[Array, " G"]  # s = x'P x >= 0 before the round; 0 if asleep


class Result(NamedTuple):
    weights: Float[Array, "G d"]
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


class Forecast(NamedTuple):
    """What all `G` experts make of one context; zero for an expert asleep, even if the context is not finite."""

    raw: Float[Array, " G"]  # x'theta
    leverage: Float[Array, " G"]  # s
    gain: Float[Array, "G d"]  # P x
    root: Float[Array, "G d"]  # M'x in the form square_root, else P x


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """Experts that have seen nothing: theta = 0, P = I / lambda. `key` is not used."""
    del key
    dtype = problem.features.dtype
    dim, num_groups = problem.features.shape[-1], problem.awake.shape[-1]
    scale = 1 / jnp.asarray(params.regularization, dtype)
    diagonal = jnp.sqrt(scale) if params.form == "square_root" else scale
    zeros = jnp.zeros((num_groups,), dtype)
    return State(
        step=jnp.int32(0),
        factor=jnp.broadcast_to(diagonal * jnp.eye(dim, dtype=dtype), (num_groups, dim, dim)),
        weights=jnp.zeros((num_groups, dim), dtype),
        logdet=zeros,
        ridge_value=zeros,
        carry=jnp.zeros((2, num_groups), dtype),
    )


def rows_shown(problem: Problem, start: Int[Array, ""], num_rounds: int) -> Int[Array, " num_rounds"]:
    """The table row of rounds start, start + 1, ...; -1 where the order has a gap or has ended."""
    rounds = start + jnp.arange(num_rounds, dtype=jnp.int32)
    if problem.order is None:
        return jnp.where(rounds < problem.features.shape[0], rounds, -1)
    return jnp.maximum(problem.order.astype(jnp.int32).at[rounds].get(mode="fill", fill_value=-1), -1)


def _lookup(table: Array, rows: Int[Array, "..."]) -> Array:
    """The table's rows, zero where the index is negative."""
    present = (rows >= 0).reshape(rows.shape + (1,) * (table.ndim - 1))
    return jnp.where(present, jnp.take(table, jnp.maximum(rows, 0), axis=0, mode="clip"), 0)


def awake_in(problem: Problem, rows: Int[Array, "..."]) -> Float[Array, "... G"]:
    """Who is awake, 0 or 1 in the features' dtype; nobody where there is no row."""
    return _lookup(problem.awake, rows).astype(problem.features.dtype)


def labels_of(problem: Problem, rows: Int[Array, "..."]) -> Float[Array, "..."]:
    """Labels in the features' dtype; 0 where there is no row."""
    return _lookup(problem.labels, rows).astype(problem.features.dtype)


def forecast(params: Params, state: State, x: Float[Array, " d"], awake: Float[Array, " G"]) -> Forecast:
    """The awake experts' view of a context `x`, from the state before the round."""
    x = jnp.where(awake[:, None] > 0, x[None, :], 0)  # masked before any product
    if params.form == "square_root":
        root = jnp.einsum("gij,gi->gj", state.factor, x, precision=_HIGHEST)
        gain = jnp.einsum("gij,gj->gi", state.factor, root, precision=_HIGHEST)
        leverage = jnp.sum(root * root, axis=-1)
    else:
        gain = jnp.einsum("gij,gj->gi", state.factor, x, precision=_HIGHEST)
        root = gain
        leverage = jnp.sum(gain * x, axis=-1)
    raw = jnp.sum(state.weights * x, axis=-1)
    return Forecast(raw, leverage, gain, root)


def absorb(params: Params, state: State, seen: Forecast, y: Float[Array, ""], awake: Float[Array, " G"]) -> State:
    """The experts awake learn the label of the context that `seen` was made from; the others stay as they are."""
    pivot = 1 + seen.leverage
    residual = jnp.where(awake > 0, y, 0) - seen.raw
    if params.form == "square_root":
        shrunk = seen.gain / (pivot + jnp.sqrt(pivot))[:, None]
        factor = state.factor - shrunk[:, :, None] * seen.root[:, None, :]
    else:
        scaled = seen.gain / jnp.sqrt(pivot)[:, None]  # k k' keeps P exactly symmetric
        factor = state.factor - scaled[:, :, None] * scaled[:, None, :]
    weights = state.weights + seen.gain * (residual / pivot)[:, None]
    totals, carry = add_exactly(
        jnp.stack([state.logdet, state.ridge_value]),
        state.carry,
        jnp.stack([jnp.log1p(seen.leverage), residual * residual / pivot]),
    )
    return State(state.step + 1, factor, weights, totals[0], totals[1], carry)


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One round. The blocked forms take single rounds by the recursion, on the same state."""
    row = rows_shown(problem, state.step, 1)[0]
    awake = awake_in(problem, row)
    seen = forecast(params, state, _lookup(problem.features, row), awake)
    state = absorb(params, state, seen, labels_of(problem, row), awake)
    return state, Info(_predictions(params, seen.raw, seen.leverage), seen.leverage)


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """Shows the next `num_steps` rounds to all experts.

    Args:
      problem: table, labels, groups and order; rounds past its end change nothing.
      params: `form` is a static choice of arithmetic, not of algorithm.
      key: not used.
      state: where an earlier run of the same form stopped. A continued run repeats the undivided one bit for bit in the
        forms recursion and square_root, and in the form blocked if the run stopped at a multiple of `block_size`.
        Elsewhere, and in the form compacted, whose blocks end where the run ends, it agrees to rounding.

    Returns:
      `Result(weights, state, trace, status)` with `trace.predictions` and `trace.leverage` of shape `[num_steps, G]`.
    """
    state = init(problem, params, key) if state is None else state
    if params.form in ("blocked", "compacted"):
        state, trace = _run_blocked(problem, params, state)
    else:
        state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.weights, state, trace, status.of(state))


def _predictions(params: Params, raw: Array, leverage: Array) -> Array:
    return raw / (1 + leverage) if params.forecaster == "vaw" else raw


def _run_blocked(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    rows = rows_shown(problem, state.step, params.num_steps)
    awake = awake_in(problem, rows)
    labels = problem.labels.astype(problem.features.dtype)
    seen = jnp.where(awake.T > 0, rows[None, :], -1)
    packed, slot = compact(seen) if params.form == "compacted" else (seen, None)
    out = prequential_ridge(
        problem.features, labels, packed, factor=state.factor, weights=state.weights, block_size=params.block_size
    )
    residual, pivot = (
        (made if slot is None else jnp.take_along_axis(made, slot, axis=1)).T for made in (out.residual, out.pivot)
    )
    totals, carry = _sum_exactly(
        jnp.stack([state.logdet, state.ridge_value]),
        state.carry,
        jnp.stack([jnp.log(pivot), residual * residual / pivot], axis=1),
        params.block_size,
    )
    raw = jnp.where(awake > 0, labels_of(problem, rows)[:, None] - residual, 0)
    state = State(state.step + params.num_steps, out.factor, out.weights, totals[0], totals[1], carry)
    return state, Info(_predictions(params, raw, pivot - 1), pivot - 1)


def add_exactly(total: Array, carry: Array, term: Array) -> tuple[Array, Array]:
    """Kahan's addition: a float32 sum of 1e6 terms keeps all its digits (plain addition keeps four)."""
    term = term + carry
    new = total + term
    return new, term - (new - total)


def _sum_exactly(total: Array, carry: Array, terms: Float[Array, "T 2 G"], block: int) -> tuple[Array, Array]:
    """Adds the rounds' terms block by block, so that a run in two parts adds the same blocks in the same order."""
    padding = -terms.shape[0] % block
    blocks = jnp.pad(terms, ((0, padding), (0, 0), (0, 0))).reshape(-1, block, *terms.shape[1:]).sum(axis=1)
    add = lambda sums, term: (add_exactly(*sums, term), None)  # noqa: E731
    return jax.lax.scan(add, (total, carry), blocks)[0]


def ridge_loss_bound(ridge_value: Float[Array, "..."], logdet: Float[Array, "..."]) -> Float[Array, "..."]:
    """Bound on an expert's cumulative squared loss when ridge predictions are clipped to [0, 1] and labels lie there.

    Args:
      ridge_value: `min_u lambda |u|^2 + sum (u'x - y)^2`, equal to `State.ridge_value` (an identity, without clipping).
      logdet: `ln det(I + X'X / lambda)`, equal to `State.logdet`, nats.

    Source: `vovk:01`; the identity is in `azoury:01`. Unclipped ridge has no such bound.
    """
    return ridge_value + logdet


def vaw_loss_bound(
    ridge_value: Float[Array, "..."], logdet: Float[Array, "..."], label_bound: float = 1.0
) -> Float[Array, "..."]:
    """Bound on the cumulative squared loss of VAW, unclipped, for labels in [-label_bound, label_bound].

    Source: `vovk:01`, `azoury:01`, here for the square without the factor 1/2.
    """
    return ridge_value + label_bound**2 * logdet


def logdet_bound(num_rounds: Array | int, dim: int, max_norm: Array | float, regularization: Array | float) -> Array:
    """Bound on `State.logdet` (nats) after `num_rounds` contexts with Euclidean norm <= `max_norm`.

    `d ln(1 + T max|x|^2 / (lambda d))`: the determinant is largest when all eigenvalues are equal.
    """
    return dim * jnp.log1p(num_rounds * max_norm**2 / (regularization * dim))


def example(key: Key) -> tuple[Problem, Params]:
    """Three experts on 64 rounds of a linear law in 4 dimensions."""
    features = jax.random.uniform(prng.stream(key, "features"), (64, 4))
    noise = 0.1 * jax.random.normal(prng.stream(key, "noise"), (64,))
    awake = jax.random.bernoulli(prng.stream(key, "awake"), 0.6, (64, 3)).at[:, 2].set(True)
    weights = jnp.asarray([0.4, -0.2, 0.3, 0.1])
    labels = jnp.dot(features, weights, precision=_HIGHEST) + noise
    return Problem(features, labels, awake.astype(jnp.int32)), Params(num_steps=64, block_size=8)
