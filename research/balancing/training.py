"""Training of a mixture-of-experts language model, in the order of events that loss-free balancing needs.

One step: the forward pass routes with biases p_{n-1}; loads are counted in the same pass, summed over the micro-batches
of the step and over all replicas; the optimiser moves the weights; then the biases become p_n, once per optimiser step.
Nothing of a batch's loads reaches the routing of that batch, and evaluation changes no state. The optimiser is AdamW,
with clipping by the global norm, linear warm-up and a cosine to a share of the peak; gains of norms do not decay.
The module has the eight names of an algorithm and no `example`: the tests that every algorithm goes through compile ten
programs each, and a model takes a quarter of a minute to compile. Its own tests check the same on two.
Source: `wang:24`, Algorithm 1, for the order; `loshchilov:19` for AdamW.

Letters: `N` tokens of a stripe, `B` sequences of a step, `S` tokens of each, `n` layers with experts, `E` experts.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from research.balancing import model_sizes, token_split
from research.balancing.language_model import LanguageModel, Options, cross_entropy, init_states
from research.balancing.routing import Context, Router, share
from research.core import loops, prng, status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key, UInt

__all__ = [
    "SCOPES", "Evaluation", "Info", "Optimizer", "Params", "Problem", "Result", "State", "evaluate", "init",
    "learning_rate", "run", "step",
]  # fmt: skip

#: Tokens over which routers' losses see loads: a micro-batch on one device, a micro-batch on all of them, a whole step.
#: For the last one a step of several micro-batches first runs forward through all of them to count.
SCOPES = ("device", "micro", "step")


class Problem(eqx.Module):
    """Text to train on and text to evaluate on; arrays are longer than what is used, so that texts of another length
    need no other program."""

    tokens: UInt[Array, "stripes N"]  # sequence i of a step comes from stripe i stripes // B: stripes may be sharded
    used: Int[Array, " stripes"]  # tokens of each that exist
    starts: Int[Array, "stripes documents"]  # first token of each document, ascending; N where there are no more
    validation: UInt[Array, "domains M"]


#: Axes of a problem's arrays.
_TEXT = Problem(*[P(token_split.AXES)] * 3, P())


class Optimizer(eqx.Module):
    """AdamW and its schedule; every number is traced."""

    learning_rate: float = 3e-3  # the peak
    warmup: float = 20.0  # steps up to the peak
    total: float = 200.0  # steps down to the end of the cosine
    final: float = 0.1  # share of the peak there
    b1: float = 0.9
    b2: float = 0.95
    weight_decay: float = 0.1
    clip: float = 1.0  # largest global norm of a gradient


class Params(eqx.Module):
    """Raises ValueError for sizes below one, micro-batches that do not divide a batch, and routers that look ahead."""

    router: Router
    size: model_sizes.Size = eqx.field(static=True)
    optimizer: Optimizer = Optimizer()
    options: Options = eqx.field(static=True, default=Options())
    batch_size: int = eqx.field(static=True, default=8)  # B, over all devices and micro-batches
    length: int = eqx.field(static=True, default=128)  # S
    micro_batches: int = eqx.field(static=True, default=1)
    balance_scope: str = eqx.field(static=True, default="micro")  # whose loads the routers' losses see: see SCOPES
    num_steps: int = eqx.field(static=True, default=200)

    def __check_init__(self):
        for name in ("batch_size", "length", "micro_batches", "num_steps"):
            checks.at_least(f"Params.{name}", getattr(self, name), 1)
        divides = self.batch_size % self.micro_batches == 0
        checks.require(divides, "Params.micro_batches", f"divide batch_size = {self.batch_size}", self.micro_batches)
        checks.one_of("Params.balance_scope", self.balance_scope, SCOPES)
        fits = self.router.num_ffn == self.size.experts
        checks.require(fits, "Params.router", f"have {self.size.experts} experts with weights", self.router.num_ffn)
        checks.require(self.router.causal, "Params.router", "be causal", type(self.router).__name__)


class State(NamedTuple):
    """Everything that a checkpoint needs; `router` has a leading axis of layers with experts."""

    step: Int[Array, ""]
    weights: Any
    optimizer: Any
    router: Any
    key: Key


class Info(NamedTuple):
    """Of the weights and biases before the step."""

    loss: Float[Array, ""]  # nats per token
    router_loss: Float[Array, ""]  # what routers added, summed over layers
    load: Int[Array, "n E"]  # tokens, over the whole step
    gradient_norm: Float[Array, ""]  # before clipping


class Result(NamedTuple):
    weights: Any
    state: State
    trace: Info
    status: Int[Array, ""]


class Evaluation(NamedTuple):
    """By domain; no state has changed."""

    loss: Float[Array, " domains"]  # nats per token
    load: Int[Array, "domains n E"]


def learning_rate(optimizer: Optimizer, step: Int[Array, "..."]) -> Float[Array, "..."]:
    """Of step 0, 1, ...: peak (step + 1) / warmup, then half a cosine from the peak to its final share at `total`."""
    at = jnp.asarray(step, jnp.zeros(()).dtype)
    rising = jnp.minimum((at + 1) / optimizer.warmup, 1)
    done = jnp.clip((at - optimizer.warmup) / jnp.maximum(optimizer.total - optimizer.warmup, 1), 0, 1)
    falling = optimizer.final + (1 - optimizer.final) * 0.5 * (1 + jnp.cos(jnp.pi * done))
    return optimizer.learning_rate * rising * falling


def _transformation(optimizer: Optimizer) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(optimizer.clip),
        optax.scale_by_adam(optimizer.b1, optimizer.b2),
        optax.add_decayed_weights(optimizer.weight_decay, mask=_matrices),
        optax.scale_by_learning_rate(lambda count: learning_rate(optimizer, count)),
    )


def _matrices(weights):
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key != "gain", weights)


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """Weights drawn from `key`, routers' states before their first update. Raises ValueError without a key."""
    del problem
    checks.require(key is not None, "key", "be given: weights are drawn", key)
    drawn, routers, steps = (prng.stream(key, name) for name in ("weights", "routers", "steps"))
    states = init_states(params.router, params.size.expert_layers, routers)
    context = Context(document=jnp.zeros(1, jnp.int32), sequence=jnp.zeros(1, jnp.int32), key=routers)
    weights = LanguageModel(params.size, params.options).init(
        drawn, jnp.zeros((1, 1), jnp.int32), params.router, states, context
    )["params"]
    return State(jnp.int32(0), weights, _transformation(params.optimizer).init(weights), states, steps)


def step(problem: Problem, params: Params, state: State, *, mesh: Mesh | None = None) -> tuple[State, Info]:
    """One optimiser step.

    Args:
      mesh: with axes `data` and `model`: sequences are split over both, routed experts over `model`. Draws and loads do
        not depend on it.
    """
    key = prng.per_step(state.key, state.step)
    offsets = _offsets(problem, params, prng.stream(key, "batch"))
    context = Context(step=state.step, key=prng.stream(key, "routers"))
    sizes = params.size.experts, offsets.shape[0]
    compute = token_split.over(mesh, _gradients, state.weights, _TEXT, *sizes, returns_gradients=True)
    gradients, info, summary = compute(params, state.weights, state.router, problem, offsets, context)
    optimizer = _transformation(params.optimizer)
    updates, moments = optimizer.update(gradients, state.optimizer, state.weights)
    weights = optax.apply_updates(state.weights, updates)
    routers = jax.vmap(params.router.update)(state.router, info.load, summary)
    info = info._replace(gradient_norm=optax.tree.norm(gradients))
    return State(state.step + 1, weights, moments, routers, state.key), info


def run(
    problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None, mesh: Mesh | None = None
) -> Result:
    """Runs `params.num_steps` steps; pass `state` to continue an earlier run exactly where it stopped."""
    state = init(problem, params, key) if state is None else state
    one_step = functools.partial(step, mesh=mesh)
    state, trace = loops.scan_steps(one_step, problem, params, state, params.num_steps)
    return Result(state.weights, state, trace, status.of(state.weights))


def _offsets(problem: Problem, params: Params, key: Key) -> Int[Array, "stripes *per_stripe"]:
    """The first token of every sequence of a step, uniform over those that have S tokens after them."""
    stripes = problem.tokens.shape[0]
    divides = params.batch_size % stripes == 0
    checks.require(divides, "Params.batch_size", f"be a multiple of the {stripes} stripes", params.batch_size)
    last = problem.used[:, None] - params.length
    return jax.random.randint(key, (stripes, params.batch_size // stripes), 0, last)


def _windows(problem: Problem, offsets, length: int) -> tuple[Int[Array, "B S+1"], Int[Array, "B S"]]:
    """The tokens at the offsets, and the number of each one's document, ascending through the sequences."""

    def one(tokens, starts, offset):
        at = offset + jnp.arange(length)
        document = jnp.searchsorted(starts, at, side="right")
        return jax.lax.dynamic_slice(tokens, (offset,), (length + 1,)).astype(jnp.int32), document

    of_stripe = jax.vmap(one, in_axes=(None, None, 0))
    tokens, document = jax.vmap(of_stripe)(problem.tokens, problem.starts, offsets)
    tokens, document = tokens.reshape(-1, length + 1), document.reshape(-1, length)
    new = jnp.diff(document, axis=1, prepend=-1) != 0  # a sequence begins a document of its own
    return tokens, (jnp.cumsum(new.reshape(-1)) - 1).reshape(document.shape)


def _forward(params: Params, options: Options, weights, states, tokens, context: Context, load_share=None):
    """Mean loss of the sequences `[b, S + 1]`, and the model's output."""
    count, length = tokens.shape[0], tokens.shape[1] - 1
    context = context._replace(sequence=jnp.repeat(jnp.arange(count), length, total_repeat_length=count * length))
    model = LanguageModel(params.size, options)
    out = model.apply({"params": weights}, tokens[:, :-1], params.router, states, context, load_share)
    return jnp.mean(cross_entropy(out.logits, tokens[:, 1:])), out


def _gradients(split: token_split.Split, params: Params, weights, states, problem: Problem, offsets, context: Context):
    """Gradients, losses and loads of a step, on a device that holds some of the sequences; summed over all of them."""
    options = split.options(params.options, params.size.experts, everywhere=params.balance_scope == "micro")
    tokens, document = _windows(problem, offsets, params.length)
    per_micro = jax.tree.map(lambda leaf: leaf.reshape(params.micro_batches, -1, leaf.shape[-1]), (tokens, document))
    keys = jax.vmap(lambda number: jax.random.fold_in(context.key, number))(split.numbers(params.micro_batches))

    def shared(document, key):
        return context._replace(document=document.reshape(-1), key=key)

    def count(total, one):
        (tokens, document), key = one
        _, out = _forward(params, options, weights, states, tokens, shared(document, key))
        return total + out.load, None

    load_share = None
    if params.balance_scope == "step":
        shape = (params.size.expert_layers, params.router.num_experts)
        load = jax.lax.scan(count, jnp.zeros(shape, jnp.int32), (per_micro, keys))[0]
        load_share = jax.vmap(share)(split.sum(load))

    def loss(weights, one):
        (tokens, document), key = one
        value, out = _forward(params, options, weights, states, tokens, shared(document, key), load_share)
        added = jnp.sum(out.loss).astype(value.dtype)
        return value + added, (value, added, out.load, out.summary)

    def accumulate(one):
        (_, aux), gradients = jax.value_and_grad(loss, has_aux=True)(weights, one)
        return gradients, *aux

    first = jax.tree.map(lambda leaf: leaf[0], (per_micro, keys))
    if params.micro_batches == 1:
        found = accumulate(first)
    else:
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(accumulate, first))
        add = lambda total, one: (jax.tree.map(jnp.add, total, accumulate(one)), None)  # noqa: E731
        found = jax.lax.scan(add, zeros, (per_micro, keys))[0]
    gradients, value, added, load, summary = found
    parts = params.micro_batches * split.devices
    gradients = split.sum_gradients(jax.tree.map(lambda leaf: leaf / parts, gradients))
    value, added, summary = split.sum(jax.tree.map(lambda leaf: leaf / parts, (value, added, summary)))
    return gradients, Info(value, added, split.sum(load), jnp.zeros_like(value)), summary


def evaluate(problem: Problem, params: Params, state: State, windows: int, *, mesh: Mesh | None = None) -> Evaluation:
    """Loss and loads on `windows` sequences of S tokens, evenly spread over each domain's validation text.

    Raises ValueError unless `windows` is a multiple of the batch size and the text is long enough for one of them.
    """
    divides = windows >= 1 and windows % params.batch_size == 0
    checks.require(divides, "windows", f"be a multiple of batch_size = {params.batch_size}", windows)
    last = problem.validation.shape[1] - params.length - 1
    checks.require(last >= 0, "Params.length", "be less than the validation text", params.length)
    offsets = jnp.arange(windows) * max(last, 1) // max(windows - 1, 1)
    offsets = jnp.minimum(offsets, last).reshape(params.batch_size, -1)
    compute = token_split.over(mesh, _evaluate, state.weights, P(), params.size.experts, params.batch_size)
    context = Context(step=state.step, key=state.key)
    return compute(params, state.weights, state.router, problem.validation, offsets, context)


def _evaluate(split: token_split.Split, params: Params, weights, states, validation, offsets, context: Context):
    options = split.options(params.options, params.size.experts, everywhere=False)
    params = dataclasses.replace(params, router=params.router.at_inference())

    def one(text, offsets):
        at = offsets[:, None] + jnp.arange(params.length + 1)[None]
        loss, out = _forward(params, options, weights, states, text[at].astype(jnp.int32), context)
        return loss, out.load

    def domain(text):
        losses, loads = jax.lax.map(lambda some: one(text, some), offsets.T)
        return losses.mean() / split.devices, loads.sum(axis=0)

    return Evaluation(*split.sum(jax.lax.map(domain, validation)))
