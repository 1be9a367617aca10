"""Relational pooling: a graph network's mean over ways to mark l nodes, exactly or by sampling.

RP(G) = mean over all l-tuples t of nodes of f(G with one-hot marks at t), f any network that does not see the order of
nodes. Marks break the ties that keep f from telling graphs apart (`graph_bounds.PAIRS`); the mean keeps the result
independent of the order. Tuples may repeat a node, which adds what fewer marks see.
Source: `zhou-relational:23` for l marked nodes; `murphy:19` for the mean over orders and its sampling.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.core.types import Array, Bool, Float, Int, Key
from research.pooling import graphs
from research.pooling.graphs import Graph
from research.pooling.operator import Operator

__all__ = [
    "SumNetwork",
    "all_tuples",
    "example",
    "marked",
    "over",
    "relational_pool",
    "sample_tuples",
    "tuples_up_to",
    "valid",
]


def all_tuples(num_nodes: int, num_marks: int) -> np.ndarray:
    """Every ordered tuple of nodes, `[num_nodes ** num_marks, num_marks]`; one empty tuple without marks."""
    return np.indices((num_nodes,) * num_marks).reshape(num_marks, num_nodes**num_marks).T.astype(np.int32)


def tuples_up_to(num_nodes: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """All tuples of 0, 1, ..., `most` nodes, `[T, most]` with -1 behind the shorter ones, and their lengths `[T]`."""
    parts = [all_tuples(num_nodes, marks) for marks in range(most + 1)]
    padded = [np.pad(part, ((0, 0), (0, most - part.shape[1])), constant_values=-1) for part in parts]
    return np.concatenate(padded), np.repeat(np.arange(most + 1), [len(part) for part in parts])


def valid(tuples: Int[Array, "T l"], node_mask: Bool[Array, "M"]) -> Bool[Array, "T"]:
    """Whether a tuple holds nodes only; -1, which marks nothing, is let by."""
    return jnp.all((tuples < 0) | node_mask[tuples], axis=1)


def sample_tuples(key: Key, node_mask: Bool[Array, "M"], num_marks: int, samples: int) -> Int[Array, "S l"]:
    """Tuples of nodes, uniform and independent, with replacement."""
    count = jnp.maximum(jnp.sum(node_mask), 1)
    place = jax.random.randint(key, (samples, num_marks), 0, count)
    return jnp.argsort(~node_mask)[place].astype(jnp.int32)  # the nodes stand first: the sort is stable


def marked(graph: Graph, nodes: Int[Array, "l"]) -> Graph:
    """The graph with l more channels, the i-th 1 at the i-th node of the tuple and 0 elsewhere; -1 marks no node."""
    marks = (jnp.arange(graph.x.shape[0])[:, None] == nodes[None]) & graph.node_mask[:, None]
    return graph._replace(x=jnp.concatenate([graph.x, marks.astype(graph.x.dtype)], axis=1))


def over(function: Callable, items: Any, batch_size: int | None) -> Any:
    """The function of every item, so many at once; all of them for None, which compiles one body instead of two."""
    return jax.vmap(function)(items) if batch_size is None else jax.lax.map(function, items, batch_size=batch_size)


def relational_pool(
    f: Callable[[Graph], Any], graph: Graph, num_marks: int, *, key: Key | None = None, samples: int | None = None,
    batch_size: int | None = None,
) -> Any:  # fmt: skip
    """The mean of f over marked copies of one graph.

    Args:
      f: marked graph -> pytree of arrays; must not depend on the order of nodes.
      graph: a single graph; padding is never marked.
      num_marks: l >= 0, static.
      key, samples: for the mean over so many random tuples, an unbiased estimate; None for all M^l.
      batch_size: tuples at once, to bound memory; None for all.

    Raises:
      ValueError: a negative number of marks, or one of key and samples without the other.
    """
    validate.require(isinstance(num_marks, int) and num_marks >= 0, "num_marks", "be an integer >= 0", num_marks)
    validate.require((key is None) == (samples is None), "samples", "come together with key", samples)
    if samples is None:
        tuples = jnp.asarray(all_tuples(graph.x.shape[0], num_marks))
    else:
        validate.at_least("samples", samples, 1)
        tuples = sample_tuples(key, graph.node_mask, num_marks, samples)
    taken = valid(tuples, graph.node_mask)
    values = over(lambda nodes: f(marked(graph, nodes)), tuples, batch_size)
    total = jnp.maximum(jnp.sum(taken), 1)

    def mean(leaf):
        kept = jnp.where(taken.reshape(-1, *(1,) * (leaf.ndim - 1)), leaf, 0)
        return jnp.sum(kept, axis=0) / total.astype(leaf.dtype)

    return jax.tree.map(mean, values)


class SumNetwork(eqx.Module):
    """A small invariant network: layers tanh(x A + sum of neighbours' x B + b), then the sum over nodes.

    Sums, since they tell multisets apart.
    """

    own: tuple[Float[Array, "F H"], ...]
    neighbours: tuple[Float[Array, "F H"], ...]
    biases: tuple[Float[Array, "H"], ...]

    @classmethod
    def create(cls, key: Key, dim: int, hidden: int, num_layers: int) -> "SumNetwork":
        """Weights of variance 1 over inputs; biases standard normal, so that equal nodes do not cancel."""
        drawn = []
        for level, one in enumerate(jax.random.split(key, num_layers)):
            rows = dim if level == 0 else hidden
            first, second, third = jax.random.split(one, 3)
            shape = (rows, hidden)
            drawn.append(
                (jax.random.normal(first, shape) / rows**0.5, jax.random.normal(second, shape) / rows**0.5,
                 jax.random.normal(third, (hidden,)))
            )  # fmt: skip
        return cls(*(tuple(part) for part in zip(*drawn, strict=True)))

    def __call__(self, graph: Graph) -> Float[Array, "H"]:
        h, live = graph.x, graph.edge_mask[:, None]
        for own, neighbours, bias in zip(self.own, self.neighbours, self.biases, strict=True):
            sent = jnp.zeros_like(h)
            sent = sent.at[graph.receivers].add(jnp.where(live, h[graph.senders], 0))
            sent = sent.at[graph.senders].add(jnp.where(live, h[graph.receivers], 0))
            h = jnp.where(graph.node_mask[:, None], jnp.tanh(h @ own + sent @ neighbours + bias[None]), 0)
        return jnp.sum(h, axis=0)


def example(key: Key) -> dict[str, Operator]:
    """Two graphs, all copies with one mark."""
    first, second = jax.random.split(key)
    inputs = {
        "x": jax.random.normal(first, (2, 4, 2)),
        "senders": jnp.array([[0, 1, 2, 3], [0, 0, 1, 3]]),
        "receivers": jnp.array([[1, 2, 3, 0], [1, 2, 2, 2]]),
    }
    mask = jnp.arange(4)[None] < jnp.array([[4], [3]])
    network = SumNetwork.create(second, 3, 3, 2)

    def apply(network, inputs, mask):
        def one(inputs, mask):
            graph = graphs.build(inputs["x"], inputs["senders"], inputs["receivers"], node_mask=mask)
            return relational_pool(network, graph, 1, batch_size=2)

        return jax.vmap(one)(inputs, mask)

    return {
        "relational_pool": Operator(
            apply, network, inputs, "mean over l-tuples t of f(G, marks at t)", "zhou-relational:23",
            figure="pooling/fig_ladder", mask=mask,
        ),
    }  # fmt: skip
