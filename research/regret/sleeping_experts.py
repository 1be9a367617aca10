"""AdaNormalHedge for sleeping and confidence-rated experts, in log form.

Each expert keeps its cumulative regret R and cumulative absolute regret C; the potential is exp(max(R, 0)^2 / (3 C))
and the weight w(R, C) is half its central difference at (R +- 1, C + 1). There is no step size to tune, and an expert
is compared only on the rounds in which it is awake.
Source: `luo:15`, Algorithm 1 and its reduction for confidence-rated and sleeping experts. Guarantee: `regret_bound`.

Shape letters: `T` rounds, `N` experts.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import status
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.regret import _streams

__all__ = [
    "Info", "Masses", "MetaState", "Params", "Problem", "Result", "State", "example", "init", "init_meta",
    "log_potential_budget", "log_weight", "masses", "mixture_regret_bound", "probabilities", "regret_bound", "run",
    "step", "update", "validate", "weigh",
]  # fmt: skip


class Problem(eqx.Module):
    """Losses of `N` experts over `T` rounds.

    `losses` are in [0, 1] wherever `regret_bound` is claimed. Losses of sleeping experts are ignored and may be NaN,
    except in a round where nobody is awake, whose loss is `prior @ losses`.
    """

    losses: Float[Array, "T N"]
    awake: Float[Array, "T N"]  # in [0, 1]: 0 asleep, 1 awake, between: a confidence
    prior: Float[Array, " N"]  # > 0, sums to 1


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # rounds played by one call of `run`

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)


class MetaState(NamedTuple):
    """What AdaNormalHedge remembers; all of it, so a group learner carries exactly this."""

    regret: Float[Array, " N"]  # R: sum of awake * (learner's loss - expert's loss)
    cumulative: Float[Array, " N"]  # C: sum of the absolute values of the same terms


class State(NamedTuple):
    step: Int[Array, ""]  # rounds done; selects the next row of the problem
    meta: MetaState


class Info(NamedTuple):
    loss: Float[Array, ""]  # expected loss of an expert drawn from `probabilities`
    probabilities: Float[Array, " N"]


class Result(NamedTuple):
    regret: Float[Array, " N"]  # against each expert, over the rounds it was awake
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


class Masses(NamedTuple):
    """The part of the probabilities that does not depend on the state: computed for all rounds before the scan."""

    log_mass: Float[Array, "*rounds N"]  # ln(prior * awake) up to a constant per round; ln(prior) where nobody is awake
    anyone: Bool[Array, "*rounds"]  # somebody is awake


def log_weight(regret, cumulative):
    """ln w(R, C), w = (exp((R+1)_+^2 / (3(C+1))) - exp((R-1)_+^2 / (3(C+1)))) / 2; exactly -inf where R <= -1.

    `regret` and `cumulative` have one shape, |R| <= C. Never overflows, and its gradient is finite (zero where w is 0).
    Source: `luo:15`, the weight of Algorithm 1, with the difference of exponentials taken by expm1.
    """
    positive = regret > -1
    reach = jnp.where(positive, regret, 0) + 1
    scale = 1 / (3 * (cumulative + 1))
    # (R+1)_+^2 - (R-1)_+^2 without the cancellation of the two squares.
    gap = jnp.where(regret > 1, 4 * regret, reach * reach) * scale
    return jnp.where(positive, reach * (reach * scale) + jnp.log(-jnp.expm1(-gap)) - math.log(2), -jnp.inf)


def masses(prior, awake):
    """`Masses` of one round (`awake [N]`) or of many (`awake [T, N]`); `prior [N]` > 0, `awake` in [0, 1]."""
    asleep = awake <= 0
    log_prior = jnp.broadcast_to(jnp.log(prior), awake.shape)
    confidence = jnp.where(asleep, 1, awake).astype(log_prior.dtype)
    log_mass = jnp.where(asleep, -jnp.inf, log_prior + jnp.log(confidence))
    top = jnp.max(log_mass, axis=-1, keepdims=True)
    nobody = top == -jnp.inf
    return Masses(jnp.where(nobody, log_prior, log_mass - jnp.where(nobody, 0, top)), ~nobody[..., 0])


def weigh(round_masses, regret, cumulative):
    """Probabilities `[N]` of one round from its `Masses` and the state: proportional to prior * awake * w(R, C).

    When every awake expert has weight zero they share by prior * awake; when nobody is awake the prior is returned.
    """
    log_mass, anyone = round_masses
    score = log_mass + log_weight(regret, cumulative)
    top = jax.lax.stop_gradient(jnp.max(score))
    ignore_weights = ~anyone | (top == -jnp.inf)
    unnormalised = jnp.exp(jnp.where(ignore_weights, log_mass, score - jnp.where(ignore_weights, 0, top)))
    return unnormalised / jnp.sum(unnormalised)


def probabilities(prior, awake, regret, cumulative):
    """Probabilities over the experts, `[N]`: zero on sleepers, or the prior when nobody is awake.

    Args: `prior [N]` > 0 with sum 1; `awake [N]` in [0, 1]; `regret`, `cumulative` `[N]`, the fields of `MetaState`.
    A scan over rounds is faster with `masses` of all rounds outside and `weigh` inside.
    """
    return weigh(masses(prior, awake), regret, cumulative)


def update(meta, awake, loss, expert_losses):
    """The new `MetaState` after the learner suffered `loss []` and the experts `expert_losses [N]`.

    Sleepers (`awake [N]`, in [0, 1], is 0) keep their entries whatever their losses are, NaN included. `loss` may be
    the expected loss or, for a convex loss, the loss of the averaged prediction: the guarantee is the same.
    """
    asleep = awake <= 0
    instant = jnp.where(asleep, 0, awake * (loss - jnp.where(asleep, 0, expert_losses)))
    return MetaState(meta.regret + instant, meta.cumulative + jnp.abs(instant))


def log_potential_budget(prior, cumulative):
    """ln B, B = 1 + 3/2 sum_j q_j (1 + ln(1 + C_j)): at every time sum_j q_j exp(max(R_j, 0)^2 / (3 C_j)) <= B.

    `prior`, `cumulative`: `[..., N]`; returns `[...]`, in nats. Holds while every |awake * (loss - expert loss)| <= 1.
    Source: `luo:15`, Theorem 1, with the constant of the telescoped second-order term kept.
    """
    return jnp.log1p(1.5 * jnp.sum(prior * (1 + jnp.log1p(cumulative)), axis=-1))


def regret_bound(prior, cumulative):
    """R_i <= sqrt(3 C_i (ln(1/q_i) + ln B)) for every expert, any losses in [0, 1] and any awake pattern; `[..., N]`.

    B depends on all experts' C (`log_potential_budget`). For losses in [0, M] run on losses / M and multiply by M.
    Source: `luo:15`, Theorem 1, constants as in `log_potential_budget`.
    """
    budget = log_potential_budget(prior, cumulative)[..., None]
    return jnp.sqrt(3 * cumulative * (budget - jnp.log(prior)))


def mixture_regret_bound(prior, cumulative, comparator):
    """sum_i u_i R_i <= sqrt(3 (u . C) (KL(u | q) + ln B)) for a comparator `u [N]` on the simplex; `[]`.

    From the potential inequality: Donsker-Varadhan gives sum_i u_i max(R_i, 0)^2 / (3 C_i) <= KL(u | q) + ln B, and
    Cauchy-Schwarz the rest. This is `luo:15`, Theorem 1, without its ln(1 + ln N).
    """
    log_ratio = jnp.log(jnp.where(comparator > 0, comparator, 1)) - jnp.log(prior)
    divergence = jnp.sum(comparator * jnp.where(comparator > 0, log_ratio, 0), axis=-1)
    budget = log_potential_budget(prior, cumulative)
    return jnp.sqrt(3 * jnp.sum(comparator * cumulative, axis=-1) * (divergence + budget))


def validate(problem, params):
    """Raises ValueError naming argument, value and range; traced arrays are skipped. `run` calls it by default."""
    losses, awake, prior = problem.losses, problem.awake, problem.prior
    checks.at_least("number of rounds", losses.shape[0], 1)
    checks.at_least("number of experts", losses.shape[-1], 1)
    checks.shape("awake", awake, losses.shape)
    checks.shape("prior", prior, losses.shape[-1:])
    checks.in_range("awake", awake, 0.0, 1.0)
    checks.probability_vector("prior", prior)
    if checks.is_concrete(losses, awake):
        checks.finite("losses", _streams.only_counted(losses, awake))
    _streams.require_rows(losses.shape[0], params.num_steps)


def init_meta(prior):
    """R = C = 0 for all experts, in the dtype of `prior [N]`."""
    return MetaState(jnp.zeros_like(prior), jnp.zeros_like(prior))


_validate = validate  # `run` has a flag of the same name


def _prior(problem):
    """The prior in the dtype of the computation."""
    return jnp.asarray(problem.prior, jnp.result_type(problem.losses, problem.prior))


def init(problem, params, key=None) -> State:
    """Round zero; `params` and `key` are not used."""
    del params, key
    return State(jnp.zeros((), jnp.int32), init_meta(_prior(problem)))


def _play(meta, observed):
    round_masses, awake, losses = observed
    p = weigh(round_masses, *meta)
    loss = jnp.sum(p * losses)
    return update(meta, awake, loss, losses), Info(loss, p)


def _observations(prior, awake, losses):
    """Everything a round needs that is known without the state; losses that are not counted become 0."""
    round_masses = masses(prior, awake)
    counted = (awake > 0) | ~round_masses.anyone[..., None]
    return round_masses, awake.astype(prior.dtype), jnp.where(counted, losses.astype(prior.dtype), 0)


def step(problem, params, state):
    """One round on row `state.step` of the problem: weigh, suffer, update.

    Returns the new state and `Info(loss=[], probabilities=[N])`. When nobody is awake the prior is played, its loss is
    counted and only the step counter changes. Past the last row the loss is NaN and the regrets stay.
    """
    del params
    awake = _streams.row(problem.awake, state.step, fill=0)
    losses = _streams.row(problem.losses, state.step, fill=jnp.nan)
    meta, info = _play(state.meta, _observations(_prior(problem), awake, losses))
    return State(state.step + 1, meta), info


def run(problem, params, key=None, *, state=None, validate=True) -> Result:
    """Plays `params.num_steps` rounds from `state.step` (0 without a state); pass `state` to continue exactly.

    Args:
      problem: `Problem` with `T` rounds of `N` experts.
      key: not used.
      validate: check concrete inputs first (see `validate` of this module); inside jit there is nothing to check.
    Returns: `Result`; `status` is NONFINITE after a non-finite counted loss, or rounds past the end.
    Raises: ValueError for bad input, and for more rounds than the problem has left.
    """
    state = init(problem, params, key) if state is None else state
    if validate:
        _validate(problem, params)
        _streams.require_rows(problem.losses.shape[0], params.num_steps, state.step)
    return _run(problem, params, state)


@jax.jit
def _run(problem, params, state):
    awake = _streams.rows(problem.awake, state.step, params.num_steps, fill=0)
    losses = _streams.rows(problem.losses, state.step, params.num_steps, fill=jnp.nan)
    meta, trace = jax.lax.scan(_play, state.meta, _observations(_prior(problem), awake, losses))
    state = State(state.step + params.num_steps, meta)
    return Result(meta.regret, state, trace, status.of((state, trace)))


def example(key: Key) -> tuple[Problem, Params]:
    """Five experts, sixteen rounds, random losses and sleep, one confidence-rated expert."""
    losses_key, awake_key, confidence_key = jax.random.split(key, 3)
    losses = jax.random.uniform(losses_key, (16, 5))
    awake = jax.random.bernoulli(awake_key, 0.7, (16, 5)).astype(losses.dtype)
    awake = awake.at[:, 0].multiply(jax.random.uniform(confidence_key, (16,)))
    return Problem(losses, awake, jnp.full((5,), 0.2)), Params(num_steps=16)
