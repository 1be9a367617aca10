"""Repeated second-price auctions with budgets: clients pace alone, or an agency lets only one of them bid seriously.

In round t client k has value v, the highest bid of everybody else is d (outside), and the highest bid wins at the
second-highest price; a client wins ties against the outside and the smaller index wins among clients. Each client
paces adaptively: she bids v / (1 + mu), never more than what is left of her budget B, and after the round
mu += step_size * (charge - B / T), projected to mu >= 0.

Rules:
  independent  everybody bids; the winner pays the larger of d and the second bid among the clients.
  leader       only the client with the highest paced bid enters her bid, and pays d. Her pacing is charged what she
               really paid, so that saved money is bid again. No client is promised anything by this rule: one with a
               tight budget can lose rounds to one whose multiplier fell. Measured only.
  shadow       pacing, budgets and winners are those of independent bidding, kept in the agency's books; the winner
               of the books alone enters her bid, pays d, and the surplus (the price in the books minus d) is handed
               out. See `shadow_gain`: on every path no client is worse off than alone.
Both coordinated rules share the surplus: the winner keeps 1 - share, the rest is split equally among all K clients,
her included. Receipts are paid out and not bid.

Source: `balseiro:19` for adaptive pacing; `chen:23` (abstract) for the question. The coordination rules are our own
and are not that paper's algorithms, whose statement we could not confirm.

Shape letters: `T` rounds, `K` clients.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import loops, status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key

__all__ = [
    "RULES", "Info", "Params", "Problem", "Result", "State", "example", "init", "misreport_gain", "overspend_bound",
    "run", "shadow_gain", "step", "uniform", "validate",
]  # fmt: skip

RULES = ("independent", "leader", "shadow")


class Problem(eqx.Module):
    values: Float[Array, "T K"]  # >= 0, in money
    outside: Float[Array, " T"]  # >= 0, the highest bid of others
    budgets: Float[Array, " K"]  # > 0, for all T rounds

    @property
    def num_rounds(self) -> int:
        return self.values.shape[0]

    @property
    def num_clients(self) -> int:
        return self.values.shape[1]


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # rounds played by one call of `run`
    rule: str = eqx.field(static=True, default="independent")  # one of RULES
    step_size: float = 0.2  # > 0, per unit of money
    start: float = 0.0  # first multiplier of every client, >= 0; far below its rest, budgets run out early
    share: float = 0.0  # of the surplus, split equally among all clients; in [0, 1]

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.one_of("Params.rule", self.rule, RULES)
        checks.positive("Params.step_size", self.step_size)
        checks.finite("Params.start", self.start)
        checks.in_range("Params.start", self.start, 0.0, float("inf"))
        checks.in_range("Params.share", self.share, 0.0, 1.0)


class State(NamedTuple):
    step: Int[Array, ""]  # rounds done; selects the next row of the problem
    multiplier: Float[Array, " K"]  # mu >= 0
    book: Float[Array, " K"]  # what pacing believes is left of the budget; = remaining but under "shadow"
    remaining: Float[Array, " K"]  # what is left of the budget
    utility: Float[Array, " K"]  # value won - paid + received, so far


class Info(NamedTuple):
    winner: Int[Array, ""]  # -1: the outside
    price: Float[Array, ""]  # paid to the auctioneer by the coalition; 0 where it lost
    surplus: Float[Array, ""]  # price of independent bidding at these bids, minus `price`
    payment: Float[Array, " K"]  # paid minus received, transfers within the coalition included
    utility: Float[Array, " K"]  # of this round
    multiplier: Float[Array, " K"]  # with which this round's bids were made


class Result(NamedTuple):
    utility: Float[Array, " K"]
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


def overspend_bound(params, multiplier):
    """`[K]`: what pacing charged up to now exceeds the even rate B / T by at most this, on every path; in money.

    The projection only raises mu, hence mu_t - start >= step_size * (charges - t B / T). With the budget itself,
    which no bid can pass, this bounds the spending of a path without any assumption on values.
    """
    return (multiplier - params.start) / params.step_size


def shadow_gain(result, params):
    """`[K]`: utility under rule "shadow" minus utility under "independent" on the same problem; always >= 0.

    Both rules keep the same books, so the same client wins every round; she pays d instead of d + surplus and keeps
    at least the part (1 - share) + share / K of it, everybody else receives share / K. Spending is no more than in the
    books, hence within the budgets. `result`: of a run from round 0 under "shadow".
    """
    surplus, winner = result.trace.surplus, result.trace.winner
    clients = result.utility.shape[0]
    won = jnp.sum(jnp.where(winner[:, None] == jnp.arange(clients)[None, :], surplus[:, None], 0), axis=0)
    return (1 - params.share) * won + params.share * jnp.sum(surplus) / clients


def validate(problem, params):
    """Raises ValueError naming argument, index and value; traced arrays are skipped. `run` calls it by default."""
    checks.shape("values", problem.values, (None, None))
    checks.at_least("number of rounds", problem.num_rounds, 1)
    checks.at_least("number of clients", problem.num_clients, 1)
    checks.shape("outside", problem.outside, (problem.num_rounds,))
    checks.shape("budgets", problem.budgets, (problem.num_clients,))
    for name, array in (("values", problem.values), ("outside", problem.outside)):
        checks.finite(name, array)
        checks.in_range(name, array, 0.0, float("inf"))
    checks.positive("budgets", problem.budgets)
    allowed = f"be <= {problem.num_rounds}, the number of rounds"
    checks.require(params.num_steps <= problem.num_rounds, "Params.num_steps", allowed, params.num_steps)


def init(problem, params, key=None) -> State:
    """Round zero: full budgets, every multiplier at `params.start`; `key` is not used."""
    del key
    dtype = jnp.result_type(problem.values, problem.budgets)
    budgets = jnp.asarray(problem.budgets, dtype)
    multiplier = jnp.full(budgets.shape, params.start, dtype)
    return State(jnp.int32(0), multiplier, budgets, budgets, jnp.zeros_like(budgets))


def step(problem, params, state) -> tuple[State, Info]:
    """One auction. Past the last round all is NaN, which the status reports."""
    values = jnp.asarray(problem.values).at[state.step].get(mode="fill", fill_value=jnp.nan)
    outside = jnp.asarray(problem.outside).at[state.step].get(mode="fill", fill_value=jnp.nan)
    clients = problem.num_clients
    bids = jnp.minimum(values / (1 + state.multiplier), state.book)
    leader = jnp.argmax(bids).astype(jnp.int32)
    leads = jnp.arange(clients) == leader
    rival = jnp.max(jnp.where(leads, 0, bids))
    nothing = 0 * outside  # NaN past the end
    won = leads & (bids >= outside)
    anyone = jnp.any(won)
    full_price = jnp.where(anyone, jnp.maximum(rival, outside), nothing)
    price = full_price if params.rule == "independent" else jnp.where(anyone, outside, nothing)
    surplus = full_price - price
    received = params.share * surplus / clients
    payment = jnp.where(won, price + params.share * surplus, nothing) - received
    charge = jnp.where(won, full_price, nothing) if params.rule == "shadow" else jnp.maximum(payment, 0)
    # The winner's own receipt is netted above; another's is paid out, so that no budget grows.
    utility = jnp.where(won, values, nothing) - payment
    rate = problem.budgets / problem.num_rounds
    new = State(
        state.step + 1,
        jnp.maximum(state.multiplier + params.step_size * (charge - rate), 0),
        jnp.maximum(state.book - charge, 0),  # a bid is at most the book: below 0 by rounding only
        jnp.maximum(state.remaining - jnp.maximum(payment, 0), 0),
        state.utility + utility,
    )
    return new, Info(jnp.where(anyone, leader, -1), price, surplus, payment, utility, state.multiplier)


_validate = validate  # `run` has a flag of the same name


def run(problem, params, key=None, *, state=None, validate=True) -> Result:
    """Plays `params.num_steps` rounds from `state.step` (0 without a state); pass `state` to continue exactly.

    Args:
      problem: values, outside bids and budgets; bids depend on the past only.
      key: not used.
      validate: check concrete inputs first; inside jit there is nothing to check.
    Raises: ValueError for bad input.
    """
    if validate:
        _validate(problem, params)
    state = init(problem, params, key) if state is None else state
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.utility, state, trace, status.of(state))


def misreport_gain(problem, params, client, *, budget_scale=1.0, value_scale=1.0):
    """True utility of `client` when she reports scaled budget and values, minus that of telling the truth; `[]`.

    All others tell the truth. `budget_scale` in (0, 1]: a larger one could spend money she does not have. Scales and
    `client` may be traced: sweep them with `vmap`. Plays all rounds, whatever `params.num_steps` is.
    """
    checks.in_range("budget_scale", budget_scale, 1e-6, 1.0)
    checks.positive("value_scale", value_scale)
    params = Params(problem.num_rounds, params.rule, params.step_size, params.start, params.share)
    liar = jnp.arange(problem.num_clients) == client
    values = problem.values * jnp.where(liar, value_scale, 1)[None, :]
    report = Problem(values, problem.outside, problem.budgets * jnp.where(liar, budget_scale, 1))

    def earned(played):
        trace = run(played, params, validate=False).trace
        true_value = jnp.where(trace.winner == client, problem.values[:, client], 0)
        return jnp.sum(true_value - trace.payment[:, client])

    return earned(report) - earned(problem)


def uniform(key: Key, num_rounds: int, num_clients: int, budget_rate) -> Problem:
    """Values and outside bids uniform on [0, 1]; `budget_rate`, a scalar or `[K]`, is the budget per round."""
    value_key, outside_key = jax.random.split(key)
    values = jax.random.uniform(value_key, (num_rounds, num_clients))
    budgets = jnp.broadcast_to(jnp.asarray(budget_rate, values.dtype) * num_rounds, (num_clients,))
    return Problem(values, jax.random.uniform(outside_key, (num_rounds,)), budgets)


def example(key: Key) -> tuple[Problem, Params]:
    """Three clients, 64 rounds, uniform values, half of the surplus shared."""
    return uniform(key, 64, 3, 0.05), Params(num_steps=64, rule="leader", share=0.5)
