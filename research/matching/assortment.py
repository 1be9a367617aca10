"""Constrained maximisation of functions with a submodular order, in one pass along the order.

f is monotone and subadditive, and for one permutation of the items
    f(A + C) - f(A) <= f(B + C) - f(B)   whenever B is part of A and all of C comes after all of A,
which is diminishing returns for later items only (the strong form; the weak form asks it of those B that A extends to
the right). Assortment revenue has this form (`choice_models`); `submodular_orders` checks it. Two facts carry all
guarantees below: with w(e) = f(S_e + e) - f(S_e) the gain of item e over the set S_e kept when e came, (1) f(U) <= sum
of w over U for any U that contains every S_e before e; (2) f(S) >= sum of w over S for what is left of a kept set after
removals. Both follow item by item along the order.

Source: `udwani:24` for the class of functions and the use in assortment optimisation (its abstract; the constants here
are proved in `guarantee` for the rules as written here and are not quotations); `chakrabarti:15` for replacing an item
of a full part by one of twice its weight.

Shape letters: `N` items, `P` parts.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import loops, status
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.matching import choice_models

__all__ = [
    "CONSTRAINTS", "RULES", "Info", "Params", "Problem", "Result", "State", "example", "guarantee", "init", "run",
    "search", "step", "validate", "with_budget", "with_cardinality", "with_parts",
]  # fmt: skip

#: "greedy": whatever fits and gains. "threshold": what gains enough per unit of cost. "swap": replaces in full parts.
RULES = ("greedy", "threshold", "swap")
CONSTRAINTS = ("cardinality", "budget", "partition")
#: A sum of costs may pass the budget by this fraction of it: rounding of the sum.
_SLACK = 1e-6


class Problem(eqx.Module):
    """Maximise model.value(S) over S with cost(S) <= budget and at most capacity[p] items of part p.

    Built by `with_cardinality`, `with_budget` or `with_parts`; the guarantees are for one of the three at a time.
    """

    model: eqx.Module  # has num_items and value(mask [..., N]) -> [...], as in `choice_models`
    order: Int[Array, " N"]  # a permutation of the items
    cost: Float[Array, " N"]  # >= 0
    budget: Float[Array, ""]  # >= 0
    part: Int[Array, " N"]  # in [0, P)
    capacity: Int[Array, " P"]  # >= 1

    @property
    def num_items(self) -> int:
        return self.order.shape[0]


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # items looked at by one call of `run`
    rule: str = eqx.field(static=True, default="threshold")  # one of RULES
    threshold: float = 0.0  # least gain per unit of cost, for rule "threshold"; >= 0

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.one_of("Params.rule", self.rule, RULES)
        checks.in_range("Params.threshold", self.threshold, 0.0, float("inf"))


class State(NamedTuple):
    step: Int[Array, ""]  # items looked at
    chosen: Bool[Array, " N"]
    value: Float[Array, ""]  # f(chosen)
    weight: Float[Array, " N"]  # gain of each chosen item when it came; 0 elsewhere
    single: Int[Array, ""]  # the best single item so far that fits the empty set; -1 if none does
    single_value: Float[Array, ""]


class Info(NamedTuple):
    item: Int[Array, ""]
    gain: Float[Array, ""]  # f(chosen + item) - f(chosen)
    accepted: Bool[Array, ""]
    value: Float[Array, ""]  # f(chosen) after the step


class Result(NamedTuple):
    chosen: Bool[Array, " N"]  # the set of the scan, or the best single item if that is worth more
    value: Float[Array, ""]  # f(chosen)
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


def _build(model, order, cost, budget, part, capacity):
    dtype = jnp.asarray(model.prices).dtype if hasattr(model, "prices") else jnp.result_type(float)
    return Problem(
        model, jnp.asarray(order, jnp.int32), jnp.asarray(cost, dtype), jnp.asarray(budget, dtype),
        jnp.asarray(part, jnp.int32), jnp.asarray(capacity, jnp.int32),
    )  # fmt: skip


def with_cardinality(model, order, limit) -> Problem:
    """At most `limit` items."""
    n = len(order)
    return _build(model, order, np.ones(n), limit, np.zeros(n), [n])


def with_budget(model, order, cost, budget) -> Problem:
    """Total cost at most `budget`; an item that costs more than that alone is never chosen."""
    n = len(order)
    return _build(model, order, cost, budget, np.zeros(n), [n])


def with_parts(model, order, part, capacity) -> Problem:
    """At most `capacity[p]` items of part p: a partition matroid. `part [N]` in [0, P), `capacity [P]` >= 1."""
    return _build(model, order, np.zeros(len(order)), 0.0, part, capacity)


def guarantee(constraint, *, epsilon=0.0):
    """f(result) over the optimum is at least this, for strong submodular orders. Proofs (O: an optimal set, S: kept):

    cardinality k, `search`, 1 / (2 (1 + epsilon)): threshold t = g / (2 k), OPT / (1 + epsilon) <= g <= OPT. If k
      items were kept, f(S) >= k t. If not, every item of O outside S gained less than t when it came, and
      f(O) <= f(S + O) <= f(S) + k t.
    budget W, `search`, 1 / (3 (1 + epsilon)): t = 2 g / (3 W). If some e with enough gain did not fit,
      f(S) + f(e) >= f(S + e) >= t (cost(S) + cost(e)) > t W, so S or the best single item has t W / 2 = g / 3. If
      not, f(O) <= f(S) + t W.
    partition, rule "swap", 1 / 4: let A be all items ever kept. Each of those removed weighs at most half of what
      replaced it, so w(A) <= 2 w(S). Items of O refused from part p weigh less than twice the lightest kept there,
      2 w(S in p) together. f(O) <= f(A + O) <= w(A) + w(O outside A) <= 4 w(S) <= 4 f(S).
    Raises: ValueError for an unknown constraint or epsilon < 0.
    """
    checks.one_of("constraint", constraint, CONSTRAINTS)
    checks.in_range("epsilon", epsilon, 0.0, float("inf"))
    return {"cardinality": 1 / (2 * (1 + epsilon)), "budget": 1 / (3 * (1 + epsilon)), "partition": 0.25}[constraint]


def validate(problem, params):
    """Raises ValueError naming argument, index and value; traced arrays are skipped. `run` calls it by default."""
    n = problem.num_items
    checks.at_least("number of items", n, 1)
    checks.require(problem.model.num_items == n, "order", f"list all {problem.model.num_items} items", f"{n} entries")
    if hasattr(problem.model, "validate"):
        problem.model.validate()
    if checks.is_concrete(problem.order):
        order = np.asarray(problem.order)
        checks.require(sorted(order.tolist()) == list(range(n)), "order", f"be a permutation of 0..{n - 1}", order)
    checks.shape("cost", problem.cost, (n,))
    checks.finite("cost", problem.cost)
    checks.in_range("cost", problem.cost, 0.0, float("inf"))
    checks.finite("budget", problem.budget)
    checks.in_range("budget", problem.budget, 0.0, float("inf"))
    checks.shape("part", problem.part, (n,))
    checks.in_range("part", problem.part, 0, problem.capacity.shape[0] - 1)
    checks.in_range("capacity", problem.capacity, 1, float("inf"))
    if params.rule == "swap":  # it removes one item for another of the same part and knows no cost
        checks.in_range("cost under rule 'swap'", problem.cost, 0.0, 0.0)
    checks.require(params.num_steps <= n, "Params.num_steps", f"be <= {n}, the number of items", params.num_steps)


def init(problem, params, key=None) -> State:
    """Nothing chosen; `params` and `key` are not used."""
    del params, key
    nothing = jnp.zeros((problem.num_items,), bool)
    value = problem.model.value(nothing)
    return State(
        jnp.int32(0), nothing, value, jnp.zeros((problem.num_items,), value.dtype), jnp.int32(-1), jnp.zeros_like(value)
    )


def _fits_budget(problem, chosen):
    return jnp.sum(jnp.where(chosen, problem.cost, 0)) <= problem.budget * (1 + _SLACK)


def step(problem, params, state) -> tuple[State, Info]:
    """Looks at item `order[state.step]`. Past the end nothing is chosen and the value is NaN, which the status says.

    Costs two values of f (the kept set with the item, the item alone), and a third for rule "swap".
    """
    past = state.step >= problem.num_items
    item = problem.order.at[state.step].get(mode="clip")
    arrived = (jnp.arange(problem.num_items) == item) & ~past
    peers = state.chosen & (problem.part == problem.part[item])
    extended = state.chosen | arrived
    together, alone = problem.model.value(jnp.stack([extended, arrived]))
    gain = jnp.where(past, jnp.nan, together - state.value)
    room = jnp.sum(peers) < problem.capacity[problem.part[item]]
    fits = room & _fits_budget(problem, extended)
    if params.rule == "swap":
        lightest = peers & (jnp.arange(problem.num_items) == jnp.argmin(jnp.where(peers, state.weight, jnp.inf)))
        replace = ~room & (gain >= 2 * jnp.sum(jnp.where(lightest, state.weight, 0)))
        accepted = ~past & (fits | replace)
        extended = extended & ~(lightest & replace)
        value = jnp.where(accepted, problem.model.value(extended), state.value)
    else:
        enough = gain > 0 if params.rule == "greedy" else gain >= params.threshold * problem.cost[item]
        accepted = fits & enough
        value = jnp.where(accepted, state.value + gain, state.value)
    chosen = jnp.where(accepted, extended, state.chosen)
    weight = jnp.where(arrived & accepted, gain, jnp.where(chosen, state.weight, 0))
    better = ~past & _fits_budget(problem, arrived) & ((alone > state.single_value) | (state.single < 0))
    value = jnp.where(past, jnp.nan, value)
    new = State(
        state.step + 1, chosen, value, weight,
        jnp.where(better, item, state.single), jnp.where(better, alone, state.single_value),
    )  # fmt: skip
    return new, Info(item, gain, accepted, value)


_validate = validate  # `run` has a flag of the same name


def run(problem, params, key=None, *, state=None, validate=True) -> Result:
    """Looks at `params.num_steps` items of the order, from `state.step` on (0 without a state).

    Args:
      problem: with a model, an order and one constraint.
      key: not used.
      validate: check concrete inputs first; inside jit there is nothing to check.
    Raises: ValueError for bad input.
    """
    if validate:
        _validate(problem, params)
    state = init(problem, params, key) if state is None else state
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    single = (state.single >= 0) & (state.single_value > state.value)
    chosen = jnp.where(single, jnp.arange(problem.num_items) == state.single, state.chosen)
    return Result(chosen, jnp.where(single, state.single_value, state.value), state, trace, status.of(state))


def search(problem, constraint, *, epsilon=0.1) -> Result:
    """The whole pass for every guess of the optimum at once; the best of the results. The guarantee is `guarantee`'s.

    The optimum lies between the best single item m and N m (subadditivity): guesses m (1 + epsilon)**j, one lane each.
    For "partition" there is nothing to guess, and the one pass is made by rule "swap".
    Raises: ValueError for bad input, unknown constraints, epsilon <= 0.
    """
    checks.one_of("constraint", constraint, CONSTRAINTS)
    checks.positive("epsilon", epsilon)
    n = problem.num_items
    if constraint == "partition":
        return run(problem, Params(n, "swap"))
    validate(problem, Params(n))
    singles = problem.model.value(jnp.eye(n, dtype=bool))
    best = jnp.max(jnp.where(problem.cost <= problem.budget * (1 + _SLACK), singles, 0))
    count = max(1, math.ceil(math.log(n) / math.log1p(epsilon)))
    guesses = best * (1 + epsilon) ** jnp.arange(count, dtype=best.dtype)
    portion = 1 / 2 if constraint == "cardinality" else 2 / 3
    thresholds = portion * guesses / jnp.where(problem.budget > 0, problem.budget, 1)
    lanes = jax.vmap(lambda threshold: run(problem, Params(n, "threshold", threshold), validate=False))(thresholds)
    return jax.tree.map(lambda leaf: leaf[jnp.argmax(lanes.value)], lanes)


def example(key: Key) -> tuple[Problem, Params]:
    """Ten items under a multinomial logit, dear to cheap, at most four of them, threshold 0.05."""
    price_key, weight_key = jax.random.split(key)
    prices = jax.random.uniform(price_key, (10,), minval=0.5, maxval=2.0)
    weights = jax.random.uniform(weight_key, (10,), minval=0.05, maxval=1.0)
    model = choice_models.MultinomialLogit(prices, weights, jnp.ones(()))
    return with_cardinality(model, choice_models.by_price(prices), 4), Params(num_steps=10, threshold=0.05)
