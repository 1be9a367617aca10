"""READ twice more, in NumPy: one node at a time as the definition says, and breadth-first without static shapes.

`replicate` takes the words of `words` through its own Threefry, so that it answers replicate by replicate in double
precision. The two functions with a generator are what one would write without this package, for comparisons of speed;
they are for Gaussian walks, whose variates are one normal a node.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from research.mlmc import links, walks
from research.mlmc.levels import Geometric
from research.mlmc.words import CHILD, LEAF, LEVEL, NODE

__all__ = ["Walk", "breadth_first", "level", "recursion", "replicate", "threefry", "walk"]

_WORD = (1 << 32) - 1
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """Threefry-2x32 with 20 rounds on Python's integers."""
    schedule = (*key, key[0] ^ key[1] ^ 0x1BD11BDA)
    x, y = (counter[0] + key[0]) & _WORD, (counter[1] + key[1]) & _WORD
    for group in range(5):
        for turn in _ROTATIONS[group % 2]:
            x = (x + y) & _WORD
            y = ((y << turn | y >> (32 - turn)) & _WORD) ^ x
        x = (x + schedule[(group + 1) % 3]) & _WORD
        y = (y + schedule[(group + 2) % 3] + group + 1) & _WORD
    return x, y


class Walk(NamedTuple):
    """A Gaussian walk with functions of NumPy."""

    mean: float
    scales: tuple[float, ...]
    functions: tuple[Any, ...]
    with_state: tuple[int, ...]
    signs: tuple[int, ...]

    def link(self, d, y, z):
        return self.functions[d](self.with_state[d] * y + self.signs[d] * z)


_NUMPY = {
    links.Identity: lambda z: z,
    links.Sine: np.sin,
    links.Cosine: np.cos,
    links.Exponential: np.exp,
    links.Square: np.square,
    links.Sigmoid: lambda z: 1 / (1 + np.exp(-z)),
    links.Relu: lambda z: np.maximum(z, 0.0),
    links.Indicator: lambda z: np.where(np.asarray(z) > 0, 1.0, 0.0),
}


def walk(problem: walks.GaussianWalk) -> Walk:
    """The walk's numbers and functions for NumPy. Raises KeyError for a link without parameters here."""
    functions = tuple(_NUMPY[type(function)] for function in problem.functions)
    scales = tuple(float(s) for s in np.asarray(problem.scales, np.float64))
    return Walk(float(problem.mean), scales, functions, problem.with_state, problem.signs)


def _normal(word: int) -> float:
    from scipy import special

    return math.sqrt(2) * special.erfinv(2 * ((word >> 9) + 0.5) * 2.0**-23 - 1)


def level(law: Geometric, key: tuple[int, int]) -> int:
    """The level of the node with this key, from as many words as it takes."""
    found, q = 0, 0
    while True:
        for word in threefry(key, (q, LEVEL)):
            m = sum(word < threshold for threshold in law.thresholds[1:])
            found += m
            if m < law.last:
                return found
        q += 1


def replicate(
    problem: Walk, laws: tuple[Geometric, ...], b: tuple[int, ...], seed: tuple[int, int], number: int
) -> tuple[float, int]:
    """The value and the leaves of one replicate: the definition, in double precision, for short families."""
    depth = len(laws)

    def node(d, y, key):
        if d == depth:
            return problem.functions[d](y), 1
        n = level(laws[d], key)
        values, leaves = [], 0
        for c in range(1 << (b[d] + n)):
            if d + 1 == depth:
                child, word = None, threefry(key, (c, LEAF))[0]
            else:
                child = threefry(key, (c, CHILD))
                word = threefry(child, (0, NODE))[0]
            value, below = node(d + 1, y + problem.scales[d + 1] * _normal(word), child)
            values.append(value)
            leaves += below
        p = laws[d].pmf(n)
        if n == 0:
            return problem.link(d, y, np.mean(values)) / p, leaves
        left, right = np.mean(values[: len(values) // 2]), np.mean(values[len(values) // 2 :])
        middle = problem.link(d, y, (left + right) / 2)
        return (middle - (problem.link(d, y, left) + problem.link(d, y, right)) / 2) / p, leaves

    key = threefry(seed, (number & _WORD, number >> 32))
    y = problem.mean + problem.scales[0] * _normal(threefry(key, (0, NODE))[0])
    value, leaves = node(0, y, key)
    return float(value), leaves


def recursion(problem: Walk, r: tuple[float, ...], generator: np.random.Generator) -> tuple[float, int]:
    """One replicate by plain recursion with scalars, and its leaves."""
    depth = len(r)

    def node(d, y):
        if d == depth:
            return problem.functions[d](y), 1
        level = generator.geometric(r[d]) - 1
        size, sums, leaves = 1 << level, [0.0, 0.0], 0
        for c in range(size):
            value, below = node(d + 1, y + problem.scales[d + 1] * generator.standard_normal())
            sums[2 * c >= size and size > 1] += value
            leaves += below
        p = r[d] * (1 - r[d]) ** level
        if level == 0:
            return problem.link(d, y, sums[0]) / p, leaves
        left, right = 2 * sums[0] / size, 2 * sums[1] / size
        ends = (problem.link(d, y, left) + problem.link(d, y, right)) / 2
        return (problem.link(d, y, (left + right) / 2) - ends) / p, leaves

    return node(0, problem.mean + problem.scales[0] * generator.standard_normal())


def breadth_first(
    problem: Walk, r: tuple[float, ...], number: int, generator: np.random.Generator
) -> tuple[np.ndarray, int]:
    """`number` replicates, a depth at a time, in double precision; and their leaves."""
    depth = len(r)

    def nodes(d, y):
        if d == depth:
            return problem.functions[d](y), len(y)
        level = generator.geometric(r[d], len(y)) - 1
        size = 1 << level
        begin = np.cumsum(size) - size
        below = np.repeat(y, size)
        below += problem.scales[d + 1] * generator.standard_normal(len(below))
        values, leaves = nodes(d + 1, below)
        # The two halves of every family begin at these places; an only child is its own left half.
        starts = np.stack([begin, begin + (size >> 1)], axis=1).ravel()
        kept = np.ones(2 * len(y), bool)
        kept[1::2] = size > 1
        sums = np.zeros(2 * len(y))
        sums[kept] = np.add.reduceat(values, starts[kept])
        half = np.maximum(size >> 1, 1)
        left = sums[::2] / half
        right = np.where(size > 1, sums[1::2] / half, left)
        middle = problem.link(d, y, (left + right) / 2)
        ends = (problem.link(d, y, left) + problem.link(d, y, right)) / 2
        return (middle - (level > 0) * ends) / (r[d] * (1 - r[d]) ** level), leaves

    return nodes(0, problem.mean + problem.scales[0] * generator.standard_normal(number))
