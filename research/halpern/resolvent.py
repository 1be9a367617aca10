"""Algorithm 2: the Halpern iteration on the resolvent, each resolvent solved inexactly by VR-FoRB.

v_k ~ J(u_k) = (I + c(F + G))^{-1} u_k, u_{k+1} = lambda_k u_0 + (1 - lambda_k) v_k, lambda_k = 1 / (k + 2). For
inclusions that are monotone and Lipschitz on average (class B); with c = sqrt(n) / L its last iterate reaches a
residual eps within O~(n + sqrt(n) L R / eps) calls. A step is one k. How long an inner solve is, M_k, is the schedule:

* "practical": M_k = n (`inner_steps`), or ceil(n ln(k + 2)) as "growing"; empirical;
* "theory": as many as `bounds.inner_steps` proves to be enough for `bounds.halpern_inexact`;
* "certified": until the computed error of `certificates` shows that it is enough; the price is 2n calls every n draws;
* "authors": floor(0.05 n ln(k + 2)) at five times the certified step, to redraw a figure: diverges elsewhere (unsafe);
* "exact": by the inclusion's own `resolvent(u, c)`, charged as n calls.

Where the distance |u_k - v_k| has fallen to `restart` times its value at the anchor, v_k becomes the new anchor: linear
convergence on polyhedral problems, such as games. M_k goes by the step, never by the k since the last restart, so that
lanes of a batch (`research.halpern.lanes`) share their coins; it is then longer than asked for, and no less proved.
Source: `cai:24`, Algorithm 2 and Section 4. Departures: the inner probability 2 / n, step sizes, restarts, reflection,
certificates.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.halpern import _draws, bounds, certificates, games, monitoring, sampling, vr_forb
from research.halpern.inclusions import Point, Problem, natural_residual
from research.halpern.monitoring import Info, Result
from research.halpern.subproblem import Subproblem

__all__ = [
    "Info", "Params", "Problem", "Replay", "Result", "State", "example", "init", "replay", "resolvent_step", "run",
    "step", "validate",
]  # fmt: skip

SCHEDULES = ("practical", "growing", "theory", "certified", "authors", "exact")
RESIDUALS = ("resolvent", "natural", "certified")
#: Schedules under which |v_k - J(u_k)| is known to be small enough for reflection.
_ACCURATE = ("theory", "certified", "exact")
#: Inner draws made together. Part of the definition of the draws: changing it changes every number.
DRAWN_TOGETHER = 128
#: A "certified" solve gives up after this many times the steps that suffice in expectation.
_PATIENCE = 4


class Params(eqx.Module):
    """With everything left out: c = sqrt(n) / L, n inner steps at 0.9 of the certified step, restarts."""

    num_steps: int = eqx.field(static=True)  # outer iterations made by one call of `run`
    stride: int = eqx.field(static=True, default=1)  # an outer iteration is a stride
    schedule: str = eqx.field(static=True, default="practical")
    residual: str = eqx.field(static=True, default="resolvent")  # |u_k - v_k| / c, an estimate; or "natural" or
    # "certified": proved upper bound of |F + g| at the returned point, 2n calls of the monitoring
    reflected: bool = eqx.field(static=True, default=False)  # 2 v_k - u_k for v_k: half the bound, needs accurate v_k
    warm_start: bool = eqx.field(static=True, default=False)  # inner starts by extrapolation; schedule "certified" only
    batch: int = eqx.field(static=True, default=1)  # b: draws averaged in one inner step
    resolvent_step: Float[Array, ""] | None = None  # c; None: sqrt(n) / L
    inner_steps: Int[Array, ""] | None = None  # M_k of "practical"; None: n
    step_size: Float[Array, ""] | None = None  # tau of the inner solver; None: safety * its certified step
    safety: Float[Array, ""] | None = None  # s in (0, 1); None: 1/2 for "theory" and "certified", else 0.9
    probability: Float[Array, ""] | None = None  # p in (0, 1); None: min(1/2, 2 b / n), 1 / n for "authors"
    accuracy: Float[Array, ""] = 0.25  # in (0, 1): |v_k - J(u_k)| <= accuracy / (k + 2) |u_k - J(u_k)|
    restart: Float[Array, ""] = 0.4  # in [0, 1]; 0: never
    tolerance: Float[Array, ""] = 0.0  # residual to stop at; 0: never
    unsafe: bool = eqx.field(static=True, default=False)  # allow inner steps beyond the certified limit

    def __check_init__(self):
        monitoring.check_strides(self)
        checks.require(self.stride == 1, "Params.stride", "be 1: a step is one outer iteration", self.stride)
        checks.one_of("Params.schedule", self.schedule, SCHEDULES)
        checks.one_of("Params.residual", self.residual, RESIDUALS)
        checks.at_least("Params.batch", self.batch, 1)
        if self.reflected and not self.unsafe:
            checks.one_of('Params.schedule with "reflected"', self.schedule, _ACCURATE)
        if self.warm_start:
            checks.one_of('Params.schedule with "warm_start"', self.schedule, ("certified",))
        if self.schedule == "authors":
            checks.require(self.unsafe, "Params.unsafe", 'be True for the schedule "authors"', self.unsafe)
        if self.resolvent_step is not None:
            checks.positive("Params.resolvent_step", self.resolvent_step)
        if self.inner_steps is not None:
            checks.at_least("Params.inner_steps", self.inner_steps, 1)
        _draws.check_rates(self.step_size, 0.5 if self.safety is None else self.safety, self.probability, self.unsafe)
        _draws.check_open("Params.accuracy", self.accuracy)
        checks.in_range("Params.restart", self.restart, 0, 1)


class State(NamedTuple):
    step: Int[Array, ""]  # outer iterations done
    u: Point  # u_k
    anchor: Point  # u_0 of this epoch
    output: Point  # v_{k-1}, the point to return
    displacement: Point  # u_{k-1} - v_{k-1}, 0 after a restart
    since: Int[Array, ""]  # k, iterations since the last restart
    reference: Float[Array, ""]  # |u_0 - v_0| of this epoch
    restarts: Int[Array, ""]
    uncertified: Int[Array, ""]  # solves of "certified" that gave up
    measured: Float[Array, ""]  # residual
    ledger: monitoring.Ledger
    coin_key: Key
    key: Key


class Replay(NamedTuple):
    """What the method does with draws that were supplied; leading axis: outer iterations."""

    points: Point  # u_1, ..., u_K
    outputs: Point  # v_0, ..., v_{K-1}
    calls: Int[Array, " K"]  # spent so far


class _Inner(NamedTuple):
    """What the inner solver is run with."""

    scale: Float[Array, ""]  # c
    rates: vr_forb.Rates
    safety: Float[Array, ""]  # s that the step amounts to


def resolvent_step(problem: Problem, params: Params) -> Float[Array, ""]:
    """c, as given or sqrt(n) / L."""
    inclusion = problem.inclusion
    recommended = math.sqrt(inclusion.num_components) / inclusion.lipschitz
    return recommended if params.resolvent_step is None else jnp.asarray(params.resolvent_step, recommended.dtype)


def _inner(problem, params):
    n = problem.inclusion.num_components
    authors, proved = params.schedule == "authors", params.schedule in ("theory", "certified")
    scale = resolvent_step(problem, params)
    p = params.probability
    if p is None:
        p = 1 / n if authors else _draws.probability(n, params.batch)
    limit = vr_forb.certified_step(Subproblem(problem.inclusion, problem.start, scale), p, params.batch)
    if params.step_size is not None:
        tau = jnp.asarray(params.step_size, limit.dtype)
    elif params.safety is not None:
        tau = params.safety * limit
    else:
        tau = (5.0 if authors else 0.5 if proved else 0.9) * limit
    return _Inner(scale, vr_forb.Rates(tau, p), tau / limit)


def _most_inner_steps(params, inner, n, k):
    """M_k, or the cap on it."""
    dtype = inner.scale.dtype
    if params.schedule == "practical":
        return jnp.asarray(n if params.inner_steps is None else params.inner_steps, jnp.int32)
    if params.schedule == "growing":
        return jnp.ceil(n * jnp.log(k + 2.0).astype(dtype)).astype(jnp.int32)
    if params.schedule == "authors":
        return jnp.floor(0.05 * n * jnp.log(k + 2.0).astype(dtype)).astype(jnp.int32)
    ratio = params.accuracy / (k + 2).astype(dtype)
    enough = bounds.inner_steps(ratio, *inner.rates, inner.safety)
    return _PATIENCE * enough if params.schedule == "certified" else enough


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError for what cannot work on this problem; tracers are skipped.

    Raises:
      ValueError for an inner step at or beyond the certified one, naming it, unless `params.unsafe`; for the schedule
        "authors" on fewer than 29 components, where its first M_k is 0; for "exact" without a `resolvent`; for outer
        iterations that cost more than 2**30 calls.
    """
    inclusion, n = problem.inclusion, problem.inclusion.num_components
    _draws.check_constants(inclusion)
    if params.schedule == "exact":
        allowed = "be another one for an inclusion without `resolvent(u, c)`"
        checks.require(hasattr(inclusion, "resolvent"), "Params.schedule", allowed, repr(params.schedule))
        return
    checks.require(params.schedule != "authors" or n >= 29, "num_components", 'be >= 29 for "authors"', n)
    inner = _inner(problem, params)
    limit = inner.rates.step_size / inner.safety
    _draws.check_below(inner.rates.step_size, limit, params.unsafe and params.schedule not in _ACCURATE)
    _draws.check_calls(2 * params.batch + n, DRAWN_TOGETHER)


def init(problem: Problem, params: Params, key: Key) -> State:
    """At the start, with its natural residual (n calls of the monitoring)."""
    validate(problem, params)
    u = problem.start
    residual = natural_residual(problem.inclusion, u)
    zero = jnp.int32(0)
    return State(
        step=zero, u=u, anchor=u, output=u, displacement=optax.tree.zeros_like(u), since=zero,
        reference=jnp.zeros_like(residual), restarts=zero, uncertified=zero, measured=residual,
        ledger=monitoring.open_ledger(residual, problem.inclusion.num_components),
        coin_key=prng.stream(key, "coins"), key=prng.stream(key, "indices"),
    )  # fmt: skip


def _solve(inclusion, params, inner, state):
    """v_k as drawn and as certified (None if it is not), the ledger, and whether an asked-for accuracy was reached."""
    n = inclusion.num_components
    if params.schedule == "exact":
        v = inclusion.resolvent(state.u, inner.scale)
        return v, None, monitoring.spend(state.ledger, n), jnp.bool(True)
    subproblem = Subproblem(inclusion, state.u, inner.scale)
    most = _most_inner_steps(params, inner, n, state.step)
    coin_key, key = prng.per_step(state.coin_key, state.step), prng.per_step(state.key, state.step)

    def block(carry):
        number, at, ledger = carry
        coins = sampling.bernoulli(prng.per_step(coin_key, number), inner.rates.probability, (DRAWN_TOGETHER,))
        draws = inclusion.sample(prng.per_step(key, number), (DRAWN_TOGETHER, params.batch))
        length = jnp.minimum(DRAWN_TOGETHER, most - number * DRAWN_TOGETHER)
        at, calls = vr_forb.advance(subproblem, inner.rates, at, coins, draws, length)
        return number + 1, at, monitoring.spend(ledger, calls)

    def until(last, carry):
        return jax.lax.while_loop(lambda carry: carry[0] < last, block, carry)

    start = optax.tree.sub(state.u, state.displacement) if params.warm_start else state.u
    carry = jnp.int32(0), vr_forb.begin(subproblem, start), monitoring.spend(state.ledger, n)
    last = -(-most // DRAWN_TOGETHER)
    if params.schedule != "certified":
        _, at, ledger = until(last, carry)
        return at.point, None, ledger, jnp.bool(True)
    ratio = params.accuracy / (state.since + 2).astype(inner.scale.dtype)
    between = -(-n // DRAWN_TOGETHER)  # blocks from one certificate to the next

    def unfinished(carry):
        (number, _, _), _, going = carry
        return monitoring.anyone(going) & (number < last)

    def attempt(carry):
        (number, at, ledger), held, going = carry
        number, at, tried = until(jnp.minimum(number + between, last), (number, at, ledger))
        tried = monitoring.spend(tried, certificates.CALLS * n)
        found = certificates.certify(subproblem, at.point)
        # A lane that is done waits for the others as it is; an error that is not a number ends the attempts.
        found, ledger = jax.tree.map(lambda new, old: jnp.where(going, new, old), (found, tried), (held, ledger))
        return (number, at, ledger), found, ~(certificates.is_accurate(found, ratio) | jnp.isnan(found.error))

    nothing = certificates.Certificate(start, *3 * (jnp.full_like(inner.scale, jnp.inf),))
    begun = carry, nothing, jnp.bool(True)
    (_, _, ledger), found, going = jax.lax.while_loop(unfinished, attempt, begun)
    return found.point, found, ledger, ~going


def _move(params, u, anchor, v, k, dtype):
    """u_{k+1}."""
    pull = 1 / (k + 2).astype(dtype)
    return jax.tree.map(lambda a, v, u: pull * a + (1 - pull) * (2 * v - u if params.reflected else v), anchor, v, u)


def _measure(inclusion, params, inner, u, v, found, length):
    """The point to return and its residual."""
    if params.residual == "certified":
        found = certificates.certify(Subproblem(inclusion, u, inner.scale), v) if found is None else found
        return found.point, found.residual
    return v, natural_residual(inclusion, v) if params.residual == "natural" else length / inner.scale


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One outer iteration: a resolvent, a residual, a move towards the anchor or a restart."""
    inclusion, n = problem.inclusion, problem.inclusion.num_components
    inner = _inner(problem, params)

    def go(state):
        v, found, ledger, reached = _solve(inclusion, params, inner, state)
        displacement = optax.tree.sub(state.u, v)
        length = optax.tree.norm(displacement)
        output, residual = _measure(inclusion, params, inner, state.u, v, found, length)
        reference = jnp.where(state.since == 0, length, state.reference)
        again = (state.since >= 1) & (length <= params.restart * reference) & (params.restart > 0)
        moved = _move(params, state.u, state.anchor, v, state.since, inner.scale.dtype)

        def choose(restarted, continued):
            return jax.tree.map(lambda a, b: jnp.where(again, a, b), restarted, continued)

        return state._replace(
            u=choose(v, moved),
            anchor=choose(v, state.anchor),
            output=output,
            displacement=choose(optax.tree.zeros_like(v), displacement),
            since=jnp.where(again, 0, state.since + 1),
            reference=reference,
            restarts=state.restarts + again,
            uncertified=state.uncertified + ~reached,
            measured=residual,
            ledger=ledger,
        )

    price = {"resolvent": 0, "natural": n, "certified": 0 if params.schedule == "certified" else certificates.CALLS * n}
    return monitoring.take(go, lambda state: state.measured, state, params.tolerance, price[params.residual])


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` outer iterations, from a key or from where `state` stopped; returns v of the last one."""
    state = init(problem, params, key) if state is None else state
    return monitoring.stride_through(step, problem, params, state, lambda state: state.output)


def replay(problem: Problem, params: Params, coins: Bool[Array, "K M"], indices: Int[Array, "K M b I"]) -> Replay:
    """The outer iterations of `run` on supplied draws, M inner steps each, without restarts.

    Raises: ValueError for lengths that differ, coins that are not 0 or 1, indices that are not components.
    """
    validate(problem, params)
    inclusion, n = problem.inclusion, problem.inclusion.num_components
    coins, indices = _draws.check_supplied(inclusion, params.batch, coins, indices)
    inner = _inner(problem, params)

    def body(carry, drawn):
        u, k, calls = carry
        subproblem = Subproblem(inclusion, u, inner.scale)
        at, spent = vr_forb.advance(subproblem, inner.rates, vr_forb.begin(subproblem, u), *drawn, drawn[0].shape[0])
        u = _move(params, u, problem.start, at.point, k, inner.scale.dtype)
        calls = calls + n + spent
        return (u, k + 1, calls), Replay(u, at.point, calls)

    return jax.lax.scan(body, (problem.start, jnp.int32(0), jnp.int32(0)), (coins, indices))[1]


def example(key: Key) -> tuple[Problem, Params]:
    """A random 6 x 5 game, eight outer iterations."""
    game = games.matrix_game(jax.random.normal(key, (6, 5)))
    return Problem(game, games.uniform_start(game)), Params(num_steps=8)
