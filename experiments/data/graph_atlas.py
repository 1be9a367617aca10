"""The 1,253 graphs with at most seven nodes, one of each kind, as networkx carries them.

R. C. Read, R. J. Wilson, *An Atlas of Graphs* (Oxford University Press, 1998); networkx, BSD 3-Clause. No two of them
are isomorphic, so that whoever cannot tell two of them apart has failed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["NUM_GRAPHS", "NUM_NODES", "Atlas", "load", "with_at_most"]

#: All of them, the one without nodes included; and the nodes of the largest.
NUM_GRAPHS, NUM_NODES = 1253, 7

#: Graphs with at most so many nodes, 0 to 7.
_COUNTS = (1, 2, 4, 8, 19, 53, 209, 1253)


class Atlas(NamedTuple):
    """Graphs padded to one size.

    Attributes:
      adjacency: `[G, N, N]` bool, symmetric.
      node_mask: `[G, N]` bool.
    """

    adjacency: np.ndarray
    node_mask: np.ndarray


def with_at_most(num_nodes: int) -> int:
    """Number of graphs with at most so many nodes, 0 to 7; known without the atlas."""
    if not 0 <= num_nodes <= NUM_NODES:
        raise ValueError(f"num_nodes must lie in [0, {NUM_NODES}], got {num_nodes}.")
    return _COUNTS[num_nodes]


def load(num_nodes: int = NUM_NODES) -> Atlas:
    """The graphs with at most so many nodes, padded to that size, in the order of the atlas."""
    from networkx.generators import atlas

    count = with_at_most(num_nodes)
    adjacency, node_mask = np.zeros((count, num_nodes, num_nodes), bool), np.zeros((count, num_nodes), bool)
    for index, graph in enumerate(atlas.graph_atlas_g()[:count]):
        node_mask[index, : graph.number_of_nodes()] = True
        for one, other in graph.edges:
            adjacency[index, one, other] = adjacency[index, other, one] = True
    return Atlas(adjacency, node_mask)
