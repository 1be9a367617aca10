"""What is known of the graph operators before they run: rounds of parsing, what marks tell apart, what layers can show.

Numbers of nodes are counts, layers are numbered from 0, shares lie in [0, 1].
"""

import numpy as np

from research.core import validate

__all__ = [
    "PAIRS", "cycles", "layer_filter", "max_clusters", "max_rounds", "missed", "node_gap", "rook", "shrikhande",
    "slowest_path",
]  # fmt: skip


def max_rounds(num_nodes: int) -> int:
    """Rounds of parsing after which a connected graph of so many nodes is one cluster: floor(log2 n).

    Attained by `slowest_path`, for every n. Of a graph that is not connected, the largest component counts.
    Source: derived; after a round there are at most floor(n / 2) clusters.
    """
    validate.at_least("num_nodes", num_nodes, 1)
    return int(num_nodes).bit_length() - 1


def max_clusters(num_joined, num_isolated=0):
    """Most clusters after one round, of so many nodes that have an edge and so many that have none.

    Every cluster that has an edge holds at least two nodes. Arrays are taken entry by entry. Source: derived.
    """
    return num_isolated + num_joined // 2


def slowest_path(num_nodes: int) -> np.ndarray:
    """Scores `[n - 1]` of a path's edges with which parsing, scores kept, needs `max_rounds(n)` rounds.

    Edge i (from node i - 1 to i, i = 1, ..., n - 1) scores minus the number of times that 2 divides i: a round joins
    neighbours in pairs, and leaves the same path at half the length. Source: derived.
    """
    validate.at_least("num_nodes", num_nodes, 2)
    i = np.arange(1, num_nodes)
    return -np.log2(i & -i)


def cycles(*lengths: int) -> np.ndarray:
    """Adjacency of disjoint cycles, bool."""
    total, first = sum(lengths), 0
    adjacency = np.zeros((total, total), bool)
    for length in lengths:
        at = first + np.arange(length)
        adjacency[at, np.roll(at, 1)] = adjacency[np.roll(at, 1), at] = True
        first += length
    return adjacency


def _on_torus(size: int, joined) -> np.ndarray:
    row, column = np.divmod(np.arange(size * size), size)
    return joined((row[:, None] - row) % size, (column[:, None] - column) % size)


def rook() -> np.ndarray:
    """Adjacency of the 4 x 4 rook's graph: squares of a board in one row or one column."""
    return _on_torus(4, lambda down, right: (down == 0) ^ (right == 0))


def shrikhande() -> np.ndarray:
    """Adjacency of Shrikhande's graph: steps +-(1, 0), +-(0, 1), +-(1, 1) on the 4 x 4 torus."""
    steps = {(1, 0), (3, 0), (0, 1), (0, 3), (1, 1), (3, 3)}
    return _on_torus(4, np.vectorize(lambda down, right: (down, right) in steps))


#: Pairs of graphs that are not isomorphic: name -> (the two adjacencies, least l with which 1,l-WL separates them).
#: The last two are strongly regular with the same parameters (16, 6, 2, 2). Source: derived, by refinement.
PAIRS = {
    "C6 and 2 C3": (cycles(6), cycles(3, 3), 1),
    "C8 and 2 C4": (cycles(8), cycles(4, 4), 1),
    "rook and Shrikhande": (rook(), shrikhande(), 2),
}


def missed(share, samples):
    """Probability that so many tuples, drawn independently, are all of those that tell nothing.

    Args:
      share: of the tuples of one graph whose colour no tuple of the other graph has, in [0, 1].

    Source: derived.
    """
    validate.in_range("share", share, 0, 1)
    return (1 - np.asarray(share, np.float64)) ** samples


def layer_filter(taps) -> np.ndarray:
    """Weights of layers, summing to 1, that read the given filter over layers up to its scale.

    Signed weights c / sum c realise every filter whose taps do not sum to 0: a first difference (1, -1) only together
    with a further layer, as in (1, -1, 1), where the last one is the same for all nodes once it is smooth. A softmax
    realises filters with positive taps alone.

    Raises:
      ValueError: the taps sum to 0.

    Source: `galron:26`, proposition 1, with the restriction on the sum, derived.
    """
    taps = np.asarray(taps, np.float64)
    validate.require(abs(taps.sum()) > 1e-12 * np.abs(taps).sum(), "taps", "have a sum other than 0", taps.tolist())
    return taps / taps.sum()


def node_gap(history, weights, one: int, other: int) -> np.ndarray:
    """How far apart the layer stage puts two nodes: |sum_l alpha_l (x_u^l - x_v^l)|, per graph.

    Layers on which the two agree drop out, however many they are: what the first layers told apart stays apart.

    Args:
      history: `[B, N, L, D]`, projected.
      weights: `[B, L]`.

    Source: `galron:26`, proposition 1.
    """
    history = np.asarray(history, np.float64)
    return np.linalg.norm(np.einsum("bl,bld->bd", np.asarray(weights), history[:, one] - history[:, other]), axis=-1)
