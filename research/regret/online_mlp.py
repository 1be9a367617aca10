"""Baseline of `oblique_tree`: an online network with one hidden layer and the same parity penalty, put on its output.

Where the forest carries a penalty at every decision node, the network has one decision, its output probability p, and
the running mean gradients of p in all of its weights. Same optimiser, same skip rule, same metrics.

Source: `basu-roy-chowdhury:24`, the MLP baseline; width and initialisation are ours (16 units, LeCun normal).

Shapes: `T` rounds, `d` features, `H` hidden units.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import loops, prng, status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.regret import _streams, oblique_tree, parity
from research.regret.oblique_tree import Info, Problem, validate

__all__ = [
    "Info", "Network", "Params", "Problem", "Result", "State", "example", "init", "learn", "probability", "run", "step",
    "validate",
]  # fmt: skip


class Params(eqx.Module):
    """Knobs; floats are traced. See `oblique_tree.Params`."""

    num_steps: int = eqx.field(static=True, default=1000)
    width: int = eqx.field(static=True, default=16)
    fairness: float | Float[Array, ""] = 0.0  # >= 0
    step_size: float | Float[Array, ""] = 2e-3
    slope_switch: float | Float[Array, ""] = 0.01

    def __check_init__(self):
        checks.at_least("Params.num_steps", self.num_steps, 1)
        checks.at_least("Params.width", self.width, 1)
        checks.in_range("Params.fairness", self.fairness, 0.0, jnp.finfo(jnp.float32).max)
        checks.positive("Params.step_size", self.step_size)
        checks.positive("Params.slope_switch", self.slope_switch)


class Network(NamedTuple):
    """What Adam updates; the bias is the last column."""

    hidden: Float[Array, "H d+1"]
    output: Float[Array, "H+1"]


class State(NamedTuple):
    step: Int[Array, ""]  # rounds done
    network: Network
    adam: optax.OptState
    means: tuple[parity.ClassMeans, parity.ClassMeans]
    metrics: parity.Metrics


class Result(NamedTuple):
    network: Network
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


def _logit(network: Network, features: Float[Array, "d"]) -> Float[Array, ""]:
    hidden = jnp.tanh(jnp.sum(network.hidden * oblique_tree.with_bias(features)[None], axis=-1))
    return jnp.sum(network.output * oblique_tree.with_bias(hidden))


def probability(network: Network, features: Float[Array, "d"]) -> Float[Array, ""]:
    """Probability of label 1."""
    return jax.nn.sigmoid(_logit(network, features))


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """A random network that has seen nothing. Raises ValueError without a key."""
    checks.require(key is not None, "key", "be a PRNG key (the network starts at random)", key)
    features = problem.features
    fan_in, dtype = features.shape[-1], features.dtype
    hidden = jax.random.normal(prng.stream(key, "hidden"), (params.width, fan_in), dtype) / fan_in**0.5
    output = jax.random.normal(prng.stream(key, "output"), (params.width,), dtype) / params.width**0.5
    network = Network(jnp.pad(hidden, ((0, 0), (0, 1))), jnp.pad(output, (0, 1)))
    adam = parity.optimiser(params.step_size).init(network)
    return State(jnp.int32(0), network, adam, parity.start_means(jnp.zeros((), dtype), network), parity.start_metrics())


def learn(params: Params, state: State, features, label, protected) -> tuple[State, Info]:
    """One round on an example given by hand; see `oblique_tree.learn`."""
    logit, by_logit = jax.value_and_grad(_logit)(state.network, features)
    decision = jax.nn.sigmoid(logit)
    loss = jax.nn.softplus(jnp.where(label == 1, -logit, logit))
    prediction = (logit > 0).astype(jnp.int32)
    metrics = parity.count(state.metrics, prediction, label, protected)

    by_weights = jax.tree.map(lambda g: decision * (1.0 - decision) * g, by_logit)
    means = parity.include(state.means, decision, by_weights, protected)
    penalty = parity.penalty_gradient(means, params.fairness, params.slope_switch)
    error = decision - label.astype(decision.dtype)  # d loss / d logit
    gradient = jax.tree.map(lambda g, p: error * g + p, by_logit, penalty)
    network, adam = parity.descend(params.step_size, gradient, state.network, state.adam, means)
    info = Info(prediction, loss, parity.accuracy(metrics, loss.dtype), parity.gap(metrics, loss.dtype))
    return State(state.step + 1, network, adam, means, metrics), info


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One round on row `state.step` of the problem; past the last row the state becomes NaN, and `status` says so."""
    features = _streams.row(problem.features, state.step, fill=jnp.nan)
    label, protected = (_streams.row(rows, state.step, fill=0) for rows in (problem.labels, problem.protected))
    return learn(params, state, features, label, protected)


def run(
    problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None, validate: bool = True
) -> Result:
    """Runs `params.num_steps` rounds; pass `state` to continue an earlier run exactly where it stopped."""
    state = init(problem, params, key) if state is None else state
    if validate:
        oblique_tree.validate(problem, params, state.step)
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.network, state, trace, status.of(state))


def example(key: Key) -> tuple[Problem, Params]:
    """The stream of `oblique_tree.example` and a network of four units."""
    problem, params = oblique_tree.example(key)
    return problem, Params(num_steps=params.num_steps, width=4, fairness=0.5)
