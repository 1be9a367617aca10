"""Auxiliary-loss-free balancing without a step size: eps_n = 1 / (mu_n n), mu_n measured on the batches themselves.

The trace of the Hessian of f is the density at zero of the margin between a token's K-th and (K+1)-th biased score,
which routing has at hand; over E - 1 it is mu in a location family, and 1 / (mu n) has the least regret there
(`regret_bounds.location_family_slope`). Margins are counted in two bins, and counts averaged over batches. While loads
are off by more than their sampling noise, n stays at one: Newton's steps; so it is again when the distribution of
scores moves. Counts of a step change later steps only.
Source: derived here, from `regret_bounds.margin_modulus`; `han:25` for steps of 1 / (mu n).

Letters: `T` tokens, `E` experts, `K` experts per token.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from pallas_kernels import topk_route as _kernel
from research.balancing import assignment, metrics, online, regret_bounds
from research.balancing.bias_update import load_error
from research.balancing.gumbel_router import GumbelRouter
from research.balancing.online import Problem, Result
from research.core import loops, prng, status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key

__all__ = [
    "Info", "Memory", "Params", "Problem", "Result", "State", "example", "init", "run", "start", "step", "update",
    "validate",
]  # fmt: skip

#: Weight of the past in the average of squared load errors, whose standard error is then sqrt(2 / (19 (E - 1))).
_BAND_MEMORY = 0.9


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # updates by one call of `run`
    num_tokens: int = eqx.field(static=True, default=256)  # T
    width: float | Float[Array, ""] = 0.1  # of a margin bin, in score units: some per cent of the scores' deviation
    memory: float | Float[Array, ""] = 0.98  # weight of the past in the average of margin counts, in [0, 1)
    band: float | Float[Array, ""] = 2.0  # n is one where squared load errors exceed their noise by this; inf: never
    largest: float | Float[Array, ""] = 0.5  # no update moves a bias by more, in score units
    excess: str = eqx.field(static=True, default="exact")  # as in `online`
    num_nodes: int = eqx.field(static=True, default=257)

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.at_least("Params.num_tokens", self.num_tokens, 1)
        checks.positive("Params.width", self.width)
        checks.in_range("Params.memory", self.memory, 0, 1 - 1e-6)
        checks.at_least("Params.band", self.band, 1)
        checks.positive("Params.largest", self.largest)
        checks.one_of("Params.excess", self.excess, online.EXCESSES)


class Memory(NamedTuple):
    """What the rule remembers; averages are before the correction for their start at zero."""

    bias: Float[Array, " E"]
    updates: Int[Array, ""]  # updates done
    since: Int[Array, ""]  # updates since loads were last out of the band
    bins: Float[Array, " 2"]  # shares of tokens with a margin in [0, w) and in [w, 2w)
    energy: Float[Array, ""]  # |A - L|^2 over its expectation under sampling noise


class State(NamedTuple):
    step: Int[Array, ""]  # updates done
    key: Key
    memory: Memory
    regret: Float[Array, ""]  # in score units, summed over the steps


class Info(NamedTuple):
    """Of the step that routed with p_{n-1}."""

    bias: Float[Array, " E"]  # p_{n-1}
    load: Int[Array, " E"]
    max_violation: Float[Array, ""]  # MaxVio of this batch
    excess: Float[Array, ""]  # f(p_{n-1}) - f(p*), in score units per token
    regret: Float[Array, ""]  # Regret_n
    modulus: Float[Array, ""]  # mu_n, the measured one


def start(num_experts: int, dtype=jnp.float32, bias: Float[Array, " E"] | None = None) -> Memory:
    """Before the first update, at `bias` or zero."""
    checks.at_least("num_experts", num_experts, 2)
    if bias is not None:
        checks.shape("bias", bias, (num_experts,))
    begin = jnp.zeros(num_experts, dtype) if bias is None else jnp.asarray(bias, dtype)
    return Memory(begin, jnp.int32(0), jnp.int32(0), jnp.zeros(2, dtype), jnp.zeros((), dtype))


def update(
    params: Params, memory: Memory, load: Int[Array, " E"], bins: Float[Array, " 2"], top_k: int
) -> tuple[Memory, Float[Array, ""]]:
    """The memory after a batch, and mu_n.

    Args:
      load: of all replicas and micro-batches.
      bins: `regret_bounds.margin_bins` of the batch.
      top_k: K < E.
    """
    num_experts, dtype = load.shape[0], memory.bias.dtype
    tokens = jnp.sum(load).astype(dtype) / top_k
    error = load_error(load, dtype) / tokens
    n = (memory.updates + 1).astype(dtype)

    def averaged(old, new, past):
        return past * old + (1 - past) * new, 1 - jnp.asarray(past, dtype) ** n

    counts, filled = averaged(memory.bins, bins, params.memory)
    average = counts / filled
    # Not less than half of the nearest bin's own density, nor than that of one token: the line may reach below zero.
    density = jnp.maximum(regret_bounds.density_at_zero(average, params.width), average[0] / params.width / 2)
    modulus = jnp.maximum(density, 1 / (tokens * params.width)) / (num_experts - 1)

    noise = regret_bounds.gradient_bound(num_experts, top_k) / tokens
    energy, filled = averaged(memory.energy, jnp.sum(error**2) / noise, _BAND_MEMORY)
    since = jnp.where(energy / filled > params.band, 0, memory.since) + 1
    move = error / (modulus * since.astype(dtype))
    move = move * jnp.minimum(1, params.largest / jnp.maximum(jnp.abs(move).max(), 1e-30))
    new = Memory(memory.bias + move, memory.updates + 1, since, counts, energy)
    return jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, memory), modulus


def validate(problem: Problem, params: Params) -> None:
    """Raises ValueError as `online.validate`, and for K = E."""
    online.validate(problem, params)
    checks.in_range("top_k", problem.top_k, 1, problem.num_experts - 1)


def init(problem: Problem, params: Params, key: Key | None = None, *, bias: Float[Array, " E"] | None = None) -> State:
    """At `bias` (p_0), zero by default. Raises ValueError without a key, which draws the tokens."""
    checks.require(key is not None, "key", "be a PRNG key (tokens are drawn)", key)
    validate(problem, params)
    dtype = problem.minimiser.dtype
    return State(jnp.int32(0), key, start(problem.num_experts, dtype, bias), jnp.zeros((), dtype))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """T fresh tokens under the bias of before, and the update by their loads and margins."""
    bias, k = state.memory.bias, problem.top_k
    scores = problem.model.sample(prng.per_step(state.key, state.step), params.num_tokens)
    found = _kernel.topk_route(scores, bias, k, threshold=True)
    bins = regret_bounds.margin_bins(assignment.margins(found, bias), params.width)
    memory, modulus = update(params, state.memory, found.load, bins, k)
    lost = online.excess(problem, bias, params.excess, params.num_nodes)
    regret = state.regret + lost
    violation = metrics.max_violation(found.load).astype(bias.dtype)
    info = Info(bias, found.load, violation, lost, regret, modulus)
    return State(state.step + 1, state.key, memory, regret), info


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` steps, from a bias of zero or from where `state` stopped, on this or another problem."""
    state = init(problem, params, key) if state is None else state
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.regret, state, trace, status.of((state.memory, state.regret)))


def example(key: Key) -> tuple[Problem, Params]:
    """A Gumbel router of four experts at random locations, 32 tokens a step; 16 steps."""
    model = GumbelRouter(0.3 * jax.random.normal(key, (4,)))
    return online.problem_of(model), Params(16, num_tokens=32, width=0.3)
