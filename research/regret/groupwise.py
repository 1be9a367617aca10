"""One learner with small regret on every group at once: a linear expert per group under a sleeping-experts aggregator.

In a round the experts of the groups that the context belongs to are awake. They predict, the aggregator mixes them, the
label is revealed, the aggregator reweighs, then each awake expert learns. The aggregator never feeds back into the
experts: `run` computes all their predictions first (`ridge.run`, parallel over groups) and then folds the aggregator
over them, `step` plays one round of everything; both give the same losses. `aggregate` lets several aggregators share
one pass of the experts.
Source: `acharya:24`, Algorithm 1 (`meta="anh"`, `combine="expected"`, no clipping). Guarantee: `certificate`.

Shape letters: `T` rounds, `G` groups, `d` features, `N` table rows.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import prng, status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.regret import aggregating, ridge, sleeping_experts

__all__ = [
    "COMBINATIONS", "METAS", "Info", "Meta", "Params", "Parts", "Problem", "Result", "State", "aggregate",
    "certificate", "example", "expert_params", "init", "init_meta", "is_covered", "measured_regret",
    "meta_regret_bound", "order_axes", "run", "step", "validate",
]  # fmt: skip

METAS = ("anh", "aa", "ewa")
COMBINATIONS = ("mean", "expected", "sample")


class Problem(eqx.Module):
    """A table of `N` rows, shown in `T` rounds; read by `ridge` too. See `order_axes` for replicates."""

    features: Float[Array, "N d"]
    labels: Float[Array, " N"]  # in [0, 1] wherever a bound is claimed
    awake: Float[Array, "N G"]  # 0 or 1, of any dtype: whether the row belongs to the group
    prior: Float[Array, " G"]  # > 0, sums to 1
    order: Int[Array, " T"] | None = None  # row shown in each round; negative: no round. None: the rows as they are


class Params(eqx.Module):
    """`clip` bounds the experts' predictions before they are mixed, never what the experts learn from."""

    num_steps: int = eqx.field(static=True, default=64)  # rounds; those past the end of the problem are no rounds
    regularization: float = 1.0  # lambda > 0 of the experts; traced
    forecaster: str = eqx.field(static=True, default="ridge")  # ridge.FORECASTERS
    form: str = eqx.field(static=True, default="blocked")  # ridge.FORMS: arithmetic of the experts in `run`
    meta: str = eqx.field(static=True, default="anh")  # AdaNormalHedge, or the rule of `aggregating`
    combine: str = eqx.field(static=True, default="mean")  # AdaNormalHedge only: see `aggregate`
    clip: tuple[float, float] | None = eqx.field(static=True, default=None)
    block_size: int = eqx.field(static=True, default=32)

    def __check_init__(self):
        expert_params(self)
        checks.one_of("Params.meta", self.meta, METAS)
        checks.one_of("Params.combine", self.combine, COMBINATIONS)
        if self.clip is not None:
            checks.interval("Params.clip", self.clip)
        if self.meta != "anh":
            inside = self.clip is not None and self.clip[0] >= 0 and self.clip[1] <= 1
            given = f'with meta="{self.meta}"'
            checks.require(inside, "Params.clip", f"lie inside [0, 1] {given}", self.clip)
            checks.require(self.combine == "mean", "Params.combine", f'be "mean" {given}', repr(self.combine))


class Meta(NamedTuple):
    """The aggregator, and the losses whose differences its guarantees bound."""

    weights: sleeping_experts.MetaState | Float[Array, " G"]  # AdaNormalHedge's R and C, or log weights
    group_loss: Float[Array, " G"]  # learner's loss over the rounds of each group
    expert_loss: Float[Array, " G"]  # loss of the group's own expert over the same rounds, clipped as in the mixture
    carry: Float[Array, "2 G"]  # what rounding took from the two sums above
    key: Key | None  # of the draws of combine="sample"


class State(NamedTuple):
    step: Int[Array, ""]  # rounds seen, int32
    experts: ridge.State
    meta: Meta


class Info(NamedTuple):
    loss: Float[Array, ""]  # 0 where there is no round
    prediction: Float[Array, ""]
    expert_loss: Float[Array, " G"]  # 0 on sleepers
    probabilities: Float[Array, " G"]  # 0 on sleepers; the prior where nobody is awake


class Result(NamedTuple):
    group_loss: Float[Array, " G"]  # cumulative, from the first round on
    state: State
    trace: Info  # leading axis: num_steps; under jit, what the caller drops is not stored
    status: Int[Array, ""]


class Parts(NamedTuple):
    """A regret, or a bound on it, of every group: total = expert + meta."""

    expert: Float[Array, " G"]  # loss of the group's expert minus the loss in hindsight
    meta: Float[Array, " G"]  # learner's loss minus the loss of the group's expert
    total: Float[Array, " G"]


class _Seen(NamedTuple):
    """What is known of a round (or, stacked, of all rounds) without the aggregator's state."""

    present: Array  # there is a round
    awake: Float[Array, " G"]
    label: Float[Array, ""]
    predictions: Float[Array, " G"]  # clipped; 0 where they do not count
    losses: Float[Array, " G"]
    terms: sleeping_experts.Masses | aggregating.RoundTerms
    coin: Float[Array, ""] | None  # uniform on [0, 1), for combine="sample"


def expert_params(params: Params) -> ridge.Params:
    """The experts' part of the parameters: `ridge.run(problem, expert_params(params))` is the pass that metas share."""
    return ridge.Params(params.num_steps, params.regularization, params.forecaster, params.form, params.block_size)


def order_axes(problem: Problem) -> Problem:
    """`in_axes` for a `vmap` over `problem.order [R, T]` with one table for all replicates."""
    axes = jax.tree.map(lambda _: None, problem)
    return eqx.tree_at(lambda p: p.order, axes, 0, is_leaf=lambda leaf: leaf is None)


def init_meta(problem: Problem, params: Params, key: Key | None = None) -> Meta:
    """An aggregator that has seen nothing; the key is needed by combine="sample" only."""
    sampling = params.combine == "sample"
    checks.require(not sampling or key is not None, "key", 'be given with combine="sample"', key)
    prior = problem.prior.astype(problem.features.dtype)
    weights = sleeping_experts.init_meta(prior) if params.meta == "anh" else jnp.log(prior)
    zeros = jnp.zeros_like(prior)
    return Meta(weights, zeros, zeros, jnp.stack([zeros, zeros]), prng.stream(key, "sample") if sampling else None)


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """Round zero; the key is needed by combine="sample" only."""
    return State(jnp.int32(0), ridge.init(problem, expert_params(params)), init_meta(problem, params, key))


def _foresee(problem, params, rows, predictions, coin) -> _Seen:
    """`rows [...]`, `predictions [..., G]` and `coin [...]` of one round or of many."""
    awake = ridge.awake_in(problem, rows)
    label = ridge.labels_of(problem, rows)
    if params.clip is not None:
        predictions = jnp.clip(predictions, *params.clip)
    counted = (awake > 0) | ~jnp.any(awake > 0, axis=-1, keepdims=True)
    predictions = jnp.where(counted, predictions, 0)  # before any product: a sleeper's NaN must not leak
    if params.meta == "anh":
        terms = sleeping_experts.masses(problem.prior.astype(awake.dtype), awake)
    else:
        terms = aggregating.round_terms(predictions, label, awake, params.meta)
    return _Seen(rows >= 0, awake, label, predictions, (predictions - label[..., None]) ** 2, terms, coin)


def _play(problem: Problem, params: Params, meta: Meta, seen: _Seen) -> tuple[Meta, Info]:
    """Predict, suffer, reweigh. `charged` is the loss that the aggregator's guarantee speaks of."""
    if params.meta == "anh":
        p = sleeping_experts.weigh(seen.terms, *meta.weights)
        prediction = jnp.sum(p * seen.predictions)
        loss = charged = (prediction - seen.label) ** 2
        if params.combine != "mean":
            loss = charged = jnp.sum(p * seen.losses)
        if params.combine == "sample":
            cumulative = jnp.cumsum(p)
            drawn = jnp.sum(cumulative <= seen.coin * cumulative[-1])
            prediction, loss = seen.predictions[drawn], seen.losses[drawn]
        weights = sleeping_experts.update(meta.weights, seen.awake, charged, seen.losses)
    else:
        prior = problem.prior.astype(seen.awake.dtype)
        weights, prediction, p = aggregating.play(prior, meta.weights, seen.terms, params.meta)
        loss = (prediction - seen.label) ** 2
    loss = jnp.where(seen.present, loss, 0)
    losses = seen.awake * seen.losses
    totals, carry = ridge.add_exactly(
        jnp.stack([meta.group_loss, meta.expert_loss]), meta.carry, jnp.stack([seen.awake * loss, losses])
    )
    return Meta(weights, totals[0], totals[1], carry, meta.key), Info(loss, prediction, losses, p)


def _coins(params: Params, meta: Meta, start, num_rounds: int, dtype):
    if params.combine != "sample":
        return None
    return prng.blocked(lambda key, block: jax.random.uniform(key, (block,), dtype), meta.key, start, num_rounds)


def aggregate(
    problem: Problem, params: Params, predictions: Float[Array, "T G"], meta: Meta, *, start: int | Int[Array, ""] = 0
) -> tuple[Meta, Info]:
    """Folds the aggregator over predictions that were made beforehand, clipping them to `params.clip`.

    With `p` the aggregator's probabilities, `f` the predictions and `l` their losses, AdaNormalHedge combines by

      mean      prediction and loss of the average `sum p f`; never worse than `expected` at the same `p`.
      expected  loss `sum p l`, that of drawing an expert on average; `prediction` is `sum p f` (the paper's rule).
      sample    prediction and loss of an expert drawn by `p`; the aggregator is charged `sum p l`.

    Args:
      problem: its rounds start, start + 1, ... give labels and groups.
      predictions: `[T, G]` of those rounds, not clipped; ignored on sleepers, unless nobody is awake.
      meta: the aggregator before round `start` (`init_meta`).

    Returns:
      the aggregator after the last round, and `Info` with leading axis `T`. A round in which nobody is awake is
      predicted with the prior; its loss is reported, belongs to no group and changes nothing.
    """
    num_rounds = predictions.shape[0]
    rows = ridge.rows_shown(problem, start, num_rounds)
    coins = _coins(params, meta, start, num_rounds, predictions.dtype)
    seen = _foresee(problem, params, rows, predictions, coins)
    return jax.lax.scan(lambda carry, now: _play(problem, params, carry, now), meta, seen)


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One round of experts and aggregator together, for streams: predict, suffer, reweigh, learn, in this order.

    The blocked forms take single rounds by the recursion: the same losses to rounding.
    """
    row = ridge.rows_shown(problem, state.step, 1)[0]
    coin = None if params.combine != "sample" else _coins(params, state.meta, state.step, 1, problem.features.dtype)[0]
    experts, said = ridge.step(problem, expert_params(params), state.experts)
    # `said` is made before the label is read: `experts` is the state after the round, and nothing here looks at it.
    meta, info = _play(problem, params, state.meta, _foresee(problem, params, row, said.predictions, coin))
    return State(state.step + 1, experts, meta), info


def run(
    problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None, validate: bool = True
) -> Result:
    """Plays the next `num_steps` rounds: all experts first, in `params.form`, then the aggregator.

    Args:
      problem: rounds past its end, and rounds whose `order` is negative, change nothing.
      key: for combine="sample"; not used otherwise.
      state: where an earlier run stopped; see `ridge.run` for when a run in two parts repeats the whole bit for bit.
      validate: check concrete values first (`validate`); traced ones are never checked.

    Raises:
      ValueError: for bad input, naming argument, value and what is allowed.
    """
    if validate:
        _validate(problem, params)
    state = init(problem, params, key) if state is None else state
    experts = ridge.run(problem, expert_params(params), state=state.experts)
    meta, trace = aggregate(problem, params, experts.trace.predictions, state.meta, start=state.step)
    state = State(state.step + params.num_steps, experts.state, meta)
    return Result(meta.group_loss, state, trace, status.of(state))


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError in one line that names the argument, the value and what is allowed; skips traced arrays."""
    num_rows, num_groups = problem.features.shape[-2], problem.awake.shape[-1]
    checks.at_least("number of groups", num_groups, 1)
    checks.at_least("number of rows", num_rows, 1)
    checks.same_length(features=problem.features, labels=problem.labels, awake=problem.awake)
    checks.shape("prior", problem.prior, (num_groups,))
    for name in ("features", "labels", "awake"):
        checks.finite(name, getattr(problem, name))
    checks.binary("awake", problem.awake)
    checks.probability_vector("prior", problem.prior)
    checks.positive("Params.regularization", params.regularization)
    if params.meta != "anh":
        checks.in_range(f'labels (meta="{params.meta}")', problem.labels, 0.0, 1.0)
    if problem.order is not None:
        checks.require(jnp.issubdtype(problem.order.dtype, jnp.integer), "order", "hold integers", problem.order.dtype)
        checks.in_range("order", problem.order, -jnp.inf, num_rows - 1)


_validate = validate  # `run` has a flag of the same name


def is_covered(params: Params) -> bool:
    """Whether the guarantees speak of these runs, given labels in [0, 1]: predictions are clipped to (0, 1).

    The paper's own runs do not clip; draw bounds beside them as outside the assumptions.
    """
    return params.clip is not None and tuple(params.clip) == (0.0, 1.0)


def meta_regret_bound(problem: Problem, params: Params, meta: Meta) -> Float[Array, " G"]:
    """Bound on the learner's minus the expert's loss over each group's rounds, live from the aggregator's state."""
    prior = problem.prior.astype(meta.group_loss.dtype)
    if params.meta == "anh":
        return sleeping_experts.regret_bound(prior, meta.weights.cumulative)
    return aggregating.regret_bound(prior, params.meta)


def certificate(problem: Problem, params: Params, state: State, hindsight: Float[Array, " G"] | float = 0.0) -> Parts:
    """Bound on the regret of every group so far, live: each term is a state variable.

        expert  M_g(lambda) - hindsight_g + ln det(I + X_g'X_g / lambda)
        meta    sqrt(3 C_g (ln(1/q_g) + ln B)) for AdaNormalHedge, a constant for the Aggregating Algorithm and EWA

    With `hindsight` 0 the total bounds the group's cumulative loss instead of its regret. Holds where `is_covered`.

    Args:
      hindsight: `[G]` least squares loss of each group's rounds (`oracles.hindsight`), for the same rounds.
    Source: `acharya:24`, main theorem (the order of the bound); constants from `ridge.ridge_loss_bound`,
    `sleeping_experts.regret_bound` and `aggregating.regret_bound`.
    """
    bound = ridge.vaw_loss_bound if params.forecaster == "vaw" else ridge.ridge_loss_bound
    expert = bound(state.experts.ridge_value, state.experts.logdet) - hindsight
    meta = meta_regret_bound(problem, params, state.meta)
    return Parts(expert, meta, expert + meta)


def measured_regret(state: State, hindsight: Float[Array, " G"] | float = 0.0) -> Parts:
    """What `certificate` bounds, measured, term by term; with combine="sample" the bound is on its expectation."""
    expert = state.meta.expert_loss - hindsight
    meta = state.meta.group_loss - state.meta.expert_loss
    return Parts(expert, meta, expert + meta)


def example(key: Key) -> tuple[Problem, Params]:
    """Three groups, one of them everybody, on 64 rounds of a linear law in 4 dimensions."""
    table, params = ridge.example(key)
    labels = jnp.clip(table.labels, 0, 1)
    prior = jnp.full((3,), 1 / 3, table.features.dtype)
    return Problem(table.features, labels, table.awake, prior), Params(num_steps=64, clip=(0.0, 1.0), block_size=8)
