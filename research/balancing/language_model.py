"""A decoder with mixture-of-experts layers, into which every router of the family can be put.

Pre-norm, rotary positions, causal attention, no biases. Layer 0 has a dense SwiGLU, every other one
`y = shared(x) + sum_k gate_k expert_k(x)`; those layers are one `scan` over stacked parameters. Activations are of
`compute_dtype`; logits of the router and of the tokens, router and states are at least float32. The model is a pure
function of its parameters and the router's states: loads leave it beside the logits, so that recomputing activations in
the backward pass counts nothing twice, and states change outside of it, once per optimiser step.
Source: `han:25`, the authors' code, for shapes, `parallel_residual` and `router_init="kaiming"`.

Letters: `B` sequences, `S` tokens of each, `T` = B S, `V` vocabulary, `d` width, `E` the router's experts, `n` layers
with experts.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from research.balancing import expert_parallel
from research.balancing.decoder_parts import Attention, RMSNorm, SwiGLU, at_least_float32, model_dtype, scaled
from research.balancing.experts import PATHS, experts
from research.balancing.model_sizes import Size
from research.balancing.routing import NOTHING, Context, Router, share
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key

__all__ = ["ROUTER_INITS", "LanguageModel", "Options", "Output", "cross_entropy", "init_states"]

ROUTER_INITS = ("normal", "kaiming")


@dataclasses.dataclass(frozen=True)
class Options:
    """What may differ between models of one size; all of it is static.

    Attributes:
      parallel_residual: both parts of a layer read its input, instead of one after the other.
      router_init: "normal", of variance 1 / d, or "kaiming", uniform in +-1 / sqrt(d), which is kaiming-uniform with
        a = sqrt(5).
      compute_dtype: of activations; None for that of the parameters.
      remat: keep the residual stream between layers only, and compute the rest again in the backward pass.
      path: how a device computes its experts, of `experts.PATHS`.
      expert_axis: name of the mesh axis over which routed experts are split, inside `shard_map`; None for all of them
        on every device.
      held: routed experts whose weights this device holds; None for all.
      capacity_factor: of the messages between devices, see `expert_parallel`.
      axes: names of the mesh axes over which shares of loads are counted.
    """

    parallel_residual: bool = False
    router_init: str = "normal"
    compute_dtype: str | None = None
    remat: bool = False
    path: str = "blocked"
    expert_axis: str | None = None
    held: int | None = None
    capacity_factor: float = 1.25
    axes: tuple[str, ...] = ()

    def __post_init__(self):
        checks.one_of("Options.router_init", self.router_init, ROUTER_INITS)
        checks.one_of("Options.compute_dtype", self.compute_dtype, (None, "bfloat16", "float32", "float64"))
        checks.one_of("Options.path", self.path, PATHS)


class Output(NamedTuple):
    """What the model returns."""

    logits: Float[Array, "B S V"]
    load: Int[Array, "n E"]  # tokens per expert, of the tokens given
    loss: Float[Array, " n"]  # the router's own
    summary: Any  # `[n, ...]`, what routers summarise for their update


class Mixture(nn.Module):
    """Shared and routed experts."""

    size: Size
    options: Options

    @nn.compact
    def __call__(self, x: Float[Array, "T d"], router: Router, state, context: Context, load_share=None):
        size, options, branches = self.size, self.options, 2 * self.size.layers
        width, hidden, dtype = size.width, size.expert_width, model_dtype()
        held = size.experts if options.held is None else options.held
        weights = {
            "gate": self.param("gate", scaled(width), (held, width, hidden), dtype).astype(x.dtype),
            "up": self.param("up", scaled(width), (held, width, hidden), dtype).astype(x.dtype),
            "down": self.param("down", scaled(hidden, branches**-0.5), (held, hidden, width), dtype).astype(x.dtype),
        }
        start = scaled(width) if options.router_init == "normal" else _uniform(width**-0.5)
        matrix = self.param("router", start, (width, router.num_experts), dtype)
        learned = self.param("learned", lambda key: router.layer_parameters(key, width))
        wide = x.astype(at_least_float32(x.dtype))
        logits = jnp.matmul(wide, matrix, precision=jax.lax.Precision.HIGHEST)
        context = context._replace(hidden=x, parameters=learned)
        mixed, routing = router.mix(state, logits, context, lambda *chosen: _outputs(options, *chosen, weights))
        if load_share is None:
            load_share = share(jax.lax.psum(routing.load, options.axes) if options.axes else routing.load)
        out = mixed.astype(x.dtype)
        if size.shared:
            out = out + SwiGLU(size.shared * hidden, branches, name="shared")(x)
        return out, routing, router.loss(logits, routing, load_share, context)


def _outputs(options: Options, x, index, gate, weights):
    """Of the chosen experts, wherever they are."""
    if options.expert_axis is None:
        return experts(x, index, gate, weights, path=options.path)
    factor = options.capacity_factor
    return expert_parallel.experts(
        x, index, gate, weights, axis=options.expert_axis, capacity_factor=factor, path=options.path
    )


def _uniform(bound: float) -> Callable:
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)


class Layer(nn.Module):
    """Attention and a feed-forward part, which may return more than its output, on the residual stream."""

    size: Size
    options: Options
    dense: bool

    @nn.compact
    def __call__(self, x: Float[Array, "B S d"], *arguments):
        size, branches = self.size, 2 * self.size.layers
        attended = x + Attention(size.heads, branches, name="attention")(RMSNorm(name="norm_attention")(x))
        fed = RMSNorm(name="norm")(x if self.options.parallel_residual else attended)
        if self.dense:
            return attended + SwiGLU(size.dense_width, branches, name="dense")(fed)
        mixture = Mixture(size, self.options, name="mixture")
        mixed, routing, loss = mixture(fed.reshape(-1, size.width), *arguments)
        return attended + mixed.reshape(x.shape), routing, loss


class ExpertLayer(nn.Module):
    """A layer with experts as the body of a scan that carries the residual stream and the router's memory."""

    size: Size
    options: Options

    @nn.compact
    def __call__(self, carry, per_layer, router: Router, context: Context):
        (x, memory), (state, number, load_share) = carry, per_layer
        key = None if context.key is None else jax.random.fold_in(context.key, number)
        context = context._replace(memory=memory, layer=number, key=key)
        layer = Layer(self.size, self.options, dense=False, name="layer")
        x, routing, loss = layer(x, router, state, context, load_share)
        return (x, routing.aux.get("memory", memory)), (routing.load, loss, routing.aux.get("summary", ()))


class LanguageModel(nn.Module):
    """Logits of the next token after each one, and what the routers of the layers with experts report."""

    size: Size
    options: Options = Options()

    @nn.compact
    def __call__(
        self, tokens: Int[Array, "B S"], router: Router, states: Any, context: Context = NOTHING,
        load_share: Float[Array, "n E"] | None = None,
    ) -> Output:  # fmt: skip
        """Raises ValueError for a router of another number of experts than the size has.

        Args:
          tokens: in [0, V).
          router: the same for all layers with experts.
          states: its states, with a leading axis of layers.
          context: what all layers share: `valid`, `document`, `sequence`, `step`, `key`; the rest is filled in.
          load_share: where the caller has counted over more than these tokens.
        """
        size, options, dtype = self.size, self.options, model_dtype()
        checks.require(router.num_ffn == size.experts, "router.num_ffn", f"be {size.experts}", router.num_ffn)
        compute = dtype if options.compute_dtype is None else jnp.dtype(options.compute_dtype)
        wide = at_least_float32(compute)
        embedding = self.param("embedding", scaled(size.width), (size.vocabulary, size.width), dtype)
        learned = self.param("router", lambda key: router.shared_parameters(key, size.width))
        remat = nn.remat if options.remat else lambda module, **_: module
        x = embedding[tokens].astype(compute)
        x = remat(Layer)(size, options, dense=True, name="first")(x)
        scanned = nn.scan(
            remat(ExpertLayer, prevent_cse=False), variable_axes={"params": 0}, split_rngs={"params": True},
            in_axes=(0, nn.broadcast, nn.broadcast), length=size.expert_layers,
        )  # fmt: skip
        carry = (x, router.memory(tokens.size, wide))
        per_layer = (states, jnp.arange(size.expert_layers), load_share)
        (x, _), reports = scanned(size, options, name="layers")(
            carry, per_layer, router, context._replace(shared=learned)
        )
        head = self.param("head", scaled(size.width), (size.width, size.vocabulary), dtype).astype(compute)
        return Output(jnp.matmul(RMSNorm(name="norm")(x), head, preferred_element_type=wide), *reports)


def init_states(router: Router, num_layers: int, key: Key) -> Any:
    """The router's states before the first step, with a leading axis of `num_layers` layers with experts.

    Their floats are at least as wide as the model's weights.
    """
    states = jax.vmap(router.init)(jax.random.split(key, num_layers))

    def widened(leaf):
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(jnp.promote_types(leaf.dtype, model_dtype())) if floating else leaf

    return jax.tree.map(widened, states)


def cross_entropy(logits: Float[Array, "... V"], targets: Int[Array, "..."]) -> Float[Array, "..."]:
    """-ln softmax(logits)[target], in nats."""
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked
