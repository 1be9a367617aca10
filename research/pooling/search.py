"""Search among pooling configurations with a balanced mixture of supernets.

A configuration is a placement of pools; M networks share their weights among all of them. Configuration a is trained in
network m with probability P(m | a), a softmax of recent validation accuracies W at a temperature that rises from epoch
to epoch, balanced so that all networks are used equally. Similar configurations come to share a network, and those in
one network interfere less than all of them would.
Balancing is Sinkhorn's scaling: it converges to the one matrix with unit rows and equal column means, at the rate of
`robust_bounds.balance_rate` (theorem T21).
Source: `javan:23`, Algorithm 1, and the public code for constants. Departures: probabilities are balanced as
logarithms, since a softmax at temperature 100 underflows in float32; the number of networks in use may be less than
the number that is allocated, so that one program serves several.

Letters: `A` configurations, `M` networks, `V` and `T` pictures for validation and for training.
"""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import loops, status
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.pooling import supernet
from research.pooling.supernet import Network

__all__ = [
    "Balanced", "Info", "Params", "Problem", "Result", "State", "accuracies", "accuracy", "balance", "example", "init",
    "ranking", "run", "step",
]  # fmt: skip


class Problem(eqx.Module):
    network: Network
    placements: tuple[tuple[int, ...], ...] = eqx.field(static=True)  # A of them
    images: Float[Array, "T H W P"]
    labels: Int[Array, " T"]
    held_images: Float[Array, "V H W P"]
    held_labels: Int[Array, " V"]


class Params(eqx.Module):
    num_steps: int = eqx.field(static=True)  # steps by one call of `run`
    networks: int = eqx.field(static=True, default=4)  # M allocated
    used: int | Int[Array, ""] | None = None  # of them, from the first on; None for all
    assigned: bool | Bool[Array, ""] = False  # True: configuration a is trained in network a mod M, and nothing learns
    batch: int = eqx.field(static=True, default=128)
    epoch: int = eqx.field(static=True, default=16)  # steps between two refreshes of P
    horizon: int | Int[Array, ""] = 1600  # steps of the schedules, whatever `num_steps` is; traced
    learning_rate: tuple[float, float] = (0.1, 0.001)  # first and last, by a cosine
    momentum: float | Float[Array, ""] = 0.9
    temperature: tuple[float, float] = (1.0, 100.0)  # t of the first and of the last epoch, linear between
    memory: float | Float[Array, ""] = 0.9  # W <- memory W + (1 - memory) accuracy
    tolerance: float | Float[Array, ""] = 1e-4  # of balance, in nats
    max_sweeps: int = eqx.field(static=True, default=100)

    def __check_init__(self):
        for name in ("num_steps", "networks", "batch", "epoch", "max_sweeps"):
            checks.at_least(f"Params.{name}", getattr(self, name), 1)
        checks.at_least("Params.horizon", self.horizon, 1)
        if self.used is not None:
            checks.in_range("Params.used", self.used, 1, self.networks)
        checks.positive("Params.learning_rate", self.learning_rate)
        checks.positive("Params.temperature", self.temperature)
        checks.positive("Params.tolerance", self.tolerance)
        checks.in_range("Params.memory", self.memory, 0, 1)


class State(NamedTuple):
    step: Int[Array, ""]
    key: Key
    weights: Any  # `[M, ...]`
    velocity: Any
    preference: Float[Array, "A M"]  # W, in [0, 1]
    probability: Float[Array, "A M"]  # P(m | a) of the current epoch


class Info(NamedTuple):
    configuration: Int[Array, ""]
    network: Int[Array, ""]
    loss: Float[Array, ""]  # nats
    accuracy: Float[Array, ""]  # on a validation batch after the step


class Result(NamedTuple):
    preference: Float[Array, "A M"]
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]


class Balanced(NamedTuple):
    probability: Float[Array, "A M"]  # rows sum to 1
    divergence: Float[Array, ""]  # of the column means from equal ones, nats
    sweeps: Int[Array, ""]


def balance(
    preference: Float[Array, "A M"],
    temperature: float | Float[Array, ""],
    *,
    used: Int[Array, ""] | None = None,
    tolerance: float | Float[Array, ""] = 1e-4,
    max_sweeps: int = 100,
) -> Balanced:
    """Rows softmax(t W), then sweeps of {divide by column means, normalise rows} until columns are equal.

    The divergence of column means q from 1/M is sum of q log(q M); at most `max_sweeps` sweeps are made.

    Args:
      temperature: t > 0; a product t W in nats.
      used: networks 0, ..., used - 1 take part, the others have probability 0; None for all.

    Raises: ValueError for a temperature or tolerance that is not positive.
    """
    checks.positive("temperature", temperature)
    checks.positive("tolerance", tolerance)
    checks.at_least("max_sweeps", max_sweeps, 1)
    most = preference.shape[1]
    count = jnp.asarray(most if used is None else used, preference.dtype)
    present = jnp.arange(most) < count
    logs = jax.nn.log_softmax(jnp.where(present[None], temperature * preference, -jnp.inf), axis=1)

    def columns(logs):
        return jax.nn.logsumexp(logs, axis=0) - jnp.log(logs.shape[0])

    def divergence(logs):
        mean = columns(logs)
        safe = jnp.where(present, mean, 0)
        return jnp.sum(jnp.where(present, jnp.exp(safe) * (safe + jnp.log(count)), 0))

    def sweep(logs):
        scaled = jnp.where(present[None], logs - jnp.where(present, columns(logs), 0)[None], -jnp.inf)
        return jax.nn.log_softmax(scaled, axis=1)

    logs, sweeps = loops.while_active(sweep, lambda logs: jnp.abs(divergence(logs)) > tolerance, logs, max_sweeps)
    return Balanced(jnp.exp(logs), divergence(logs), sweeps)


def _probability(params: Params, preference, step):
    """P of the epoch that the step lies in."""
    epochs = jnp.maximum(1, params.horizon // params.epoch - 1)
    first, last = params.temperature
    at = first + (last - first) * jnp.minimum(step // params.epoch, epochs) / epochs
    found = balance(
        preference, at, used=params.used, tolerance=params.tolerance, max_sweeps=params.max_sweeps
    ).probability.astype(preference.dtype)
    own = jnp.arange(preference.shape[0])[:, None] % params.networks == jnp.arange(params.networks)[None]
    return jnp.where(params.assigned, own.astype(found.dtype), found)


def _loss(problem: Problem, weights, configuration, images, labels):
    """Mean cross-entropy in nats, and accuracy."""
    placement = jnp.asarray(problem.placements, jnp.int32)[configuration]
    logits = problem.network(weights, placement, images)
    found = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return found, jnp.mean(jnp.argmax(logits, axis=1) == labels, dtype=logits.dtype)


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """M networks of different weights, W = 1. Raises ValueError for a batch that the pictures do not fill."""
    checks.require(key is not None, "key", "be a key", None)
    least = min(len(problem.labels), len(problem.held_labels))
    checks.require(params.batch <= least, "Params.batch", f"be <= {least}, the number of pictures", params.batch)
    of_weights, of_steps = jax.random.split(key)
    weights = jax.vmap(problem.network.init)(jax.random.split(of_weights, params.networks))
    weights = jax.tree.map(lambda leaf: leaf.astype(problem.images.dtype), weights)
    preference = jnp.ones((len(problem.placements), params.networks), problem.images.dtype)
    velocity = jax.tree.map(jnp.zeros_like, weights)
    return State(jnp.int32(0), of_steps, weights, velocity, preference, _probability(params, preference, 0))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One batch in one network with one configuration, and its accuracy on another batch."""
    keys = jax.random.split(jax.random.fold_in(state.key, state.step), 4)
    configuration = jax.random.randint(keys[0], (), 0, len(problem.placements))
    network = jax.random.categorical(keys[1], jnp.log(state.probability[configuration]))
    # Networks in turn where they are assigned: each configuration then gets its equal share of the steps.
    turn = state.step % len(problem.placements)
    configuration = jnp.where(params.assigned, turn, configuration)
    network = jnp.where(params.assigned, turn % params.networks, network)

    def batch(key, images, labels):
        at = jax.random.randint(key, (params.batch,), 0, len(labels))
        return images[at], labels[at]

    weights, velocity = jax.tree.map(lambda leaf: leaf[network], (state.weights, state.velocity))
    slope = jax.value_and_grad(functools.partial(_loss, problem), has_aux=True)
    (loss, _), gradient = slope(weights, configuration, *batch(keys[2], problem.images, problem.labels))
    rate = (1 + jnp.cos(jnp.pi * jnp.minimum(state.step / params.horizon, 1))) / 2
    first, last = params.learning_rate
    velocity = jax.tree.map(lambda v, g: params.momentum * v + g, velocity, gradient)
    weights = jax.tree.map(lambda w, v: (w - (last + (first - last) * rate) * v).astype(w.dtype), weights, velocity)
    _, seen = _loss(problem, weights, configuration, *batch(keys[3], problem.held_images, problem.held_labels))
    kept = params.memory * state.preference[configuration, network] + (1 - params.memory) * seen
    preference = state.preference.at[configuration, network].set(kept.astype(state.preference.dtype))
    probability = jax.lax.cond(
        (state.step + 1) % params.epoch == 0, lambda: _probability(params, preference, state.step + 1),
        lambda: state.probability,
    )  # fmt: skip
    weights, velocity = jax.tree.map(
        lambda every, one: every.at[network].set(one), (state.weights, state.velocity), (weights, velocity)
    )
    new = State(state.step + 1, state.key, weights, velocity, preference, probability)
    return new, Info(configuration, network.astype(jnp.int32), loss, seen)


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` steps, from `init` or from where `state` stopped."""
    state = init(problem, params, key) if state is None else state
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.preference, state, trace, status.of(state))


def accuracy(problem: Problem, weights: Any, configuration: Int[Array, ""]) -> Float[Array, ""]:
    """Of one network with one configuration, on all validation pictures, normalised by their own moments; in [0, 1]."""
    return _loss(problem, weights, configuration, problem.held_images, problem.held_labels)[1]


def accuracies(problem: Problem, weights: Any) -> Float[Array, "A M"]:
    """`accuracy` of all configurations in all of M networks, one after another."""

    def row(configuration):
        return jax.lax.map(lambda one: accuracy(problem, one, configuration), weights)

    return jax.lax.map(row, jnp.arange(len(problem.placements)))


def ranking(
    accuracy: Float[Array, "A M"], probability: Float[Array, "A M"], by: str = "expected"
) -> Float[Array, " A"]:
    """Scores of configurations: "expected", sum of P(m | a) accuracy; "max", the best network's where P(m | a) > 0."""
    checks.one_of("by", by, ("expected", "max"))
    if by == "expected":
        return jnp.sum(probability * accuracy, axis=1)
    return jnp.max(jnp.where(probability > 0, accuracy, 0), axis=1)


def example(key: Key) -> tuple[Problem, Params]:
    """Noise of two classes that differ in brightness, 4 x 4 pixels; three blocks, one pool; two networks."""
    keys = jax.random.split(key)
    labels = jnp.arange(16) % 2
    images = jax.random.normal(keys[0], (16, 4, 4, 1)) + labels[:, None, None, None]
    held = jax.random.normal(keys[1], (16, 4, 4, 1)) + labels[:, None, None, None]
    problem = Problem(Network(3, 2, 2), supernet.placements(3, 1), images, labels, held, labels)
    return problem, Params(num_steps=16, networks=2, batch=8, epoch=4, horizon=32)
