"""A recurrent router: what a layer routes by depends on what the layers below it routed by, through one shared cell.

x' = W1_l h; g_l = GRU(x', g_{l-1}), g_0 = 0; z_l = W2_l g_l. The cell is shared by all layers, W1 and W2 are each
layer's own. An update gate of 1 carries g unchanged.
Source: `qiu-recurrent:25`, hidden size 256, as in the authors' code.

Letters: `T` tokens, `E` experts, `d` features, `H` hidden size.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing.routing import NOTHING, Context, Router, Routing, Wrapper
from research.balancing.softmax_topk import SoftmaxTopK
from research.core import validate as checks
from research.core.types import Array, Float, Key

__all__ = ["Recurrent", "example", "gru"]


def gru(cell: dict[str, Array], x: Float[Array, "T H"], state: Float[Array, "T H"]) -> Float[Array, "T H"]:
    """One step of a gated recurrent unit: u g + (1 - u) n, with u the update gate and n the candidate.

    `cell` has "input" and "state" `[H, 3 H]` and their biases `[3 H]`; columns are reset, update, candidate.
    """
    from_input = jnp.split(x @ cell["input"] + cell["input_bias"][None], 3, axis=-1)
    from_state = jnp.split(state @ cell["state"] + cell["state_bias"][None], 3, axis=-1)
    reset, update = (jax.nn.sigmoid(a + b) for a, b in zip(from_input[:2], from_state[:2], strict=True))
    candidate = jnp.tanh(from_input[2] + reset * from_state[2])
    return update * state + (1 - update) * candidate


class Recurrent(Wrapper):
    """Another router on the logits W2_l g_l; the logits that it is given are not used. Needs `context.hidden`.

    Parameters: "project" `[d, H]` and "readout" `[H, E]` in a layer, "cell" shared. Memory: "recurrent" `[T, H]`.
    Raises ValueError for a hidden size below 1.
    """

    router: Router
    hidden_size: int = eqx.field(static=True, default=256)

    def __check_init__(self):
        checks.at_least("Recurrent.hidden_size", self.hidden_size, 1)

    def layer_parameters(self, key: Key, width: int) -> dict[str, Any]:
        inner, project, readout = jax.random.split(key, 3)
        return {
            **self.router.layer_parameters(inner, width),
            "project": jax.random.normal(project, (width, self.hidden_size)) / width**0.5,
            "readout": jax.random.normal(readout, (self.hidden_size, self.num_experts)) / self.hidden_size**0.5,
        }

    def shared_parameters(self, key: Key, width: int) -> dict[str, Any]:
        inner, given, state = jax.random.split(key, 3)
        size, limit = self.hidden_size, self.hidden_size**-0.5
        cell = {
            "input": jax.random.uniform(given, (size, 3 * size), minval=-limit, maxval=limit),
            "state": jax.random.uniform(state, (size, 3 * size), minval=-limit, maxval=limit),
            "input_bias": jnp.zeros(3 * size),
            "state_bias": jnp.zeros(3 * size),
        }
        return {**self.router.shared_parameters(inner, width), "cell": cell}

    def memory(self, num_tokens: int, dtype=jnp.float32) -> dict[str, Any]:
        return {**self.router.memory(num_tokens, dtype), "recurrent": jnp.zeros((num_tokens, self.hidden_size), dtype)}

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        checks.require(context.hidden is not None, "context.hidden", "be given for a recurrent router", None)
        dtype, own, before = logits.dtype, context.parameters, context.memory["recurrent"]
        cell = jax.tree.map(lambda leaf: leaf.astype(dtype), context.shared["cell"])
        after = gru(cell, context.hidden.astype(dtype) @ own["project"].astype(dtype), before.astype(dtype))
        logits = after @ own["readout"].astype(dtype)
        routing = self.router.route(state, logits, context)
        memory = {**routing.aux.get("memory", {}), "recurrent": after.astype(before.dtype)}
        return routing._replace(aux={"logits": logits, **routing.aux, "memory": memory})


def example(key: Key):
    """Eight experts, a cell of six units, the second layer with experts."""
    router = Recurrent(SoftmaxTopK(8, 2), 6)
    logits, hidden, before, layer, shared = (jax.random.fold_in(key, i) for i in range(5))
    context = Context(
        hidden=jax.random.normal(hidden, (32, 4)),
        memory={"recurrent": jax.random.normal(before, (32, 6))},
        parameters=router.layer_parameters(layer, 4),
        shared=router.shared_parameters(shared, 4),
    )
    return router, jax.random.normal(logits, (32, 8)), context
