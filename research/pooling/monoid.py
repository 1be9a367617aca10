"""A balanced tree of a binary operator over the elements of a collection; masked elements take no part.

The operator needs not be associative: then the tree is one of many answers, and `associator` and `flip_rate` say how
far apart they are. An absent operand is the formal identity: combining with it gives the other one, and the operator is
not asked. The result depends on the elements and their order alone, never on how far a collection is padded.
Source: `ong:22` Guarantees (T10): `order_spread_bound`, `tree_fold_bound`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.pooling.operator import Operator

__all__ = [
    "associator", "associator_penalty", "check_collections", "decisions", "example", "flip_rate", "fold_reduce",
    "order_spread_bound", "permuted_elements", "tree_fold_bound", "tree_levels", "tree_reduce", "tree_reduce_sharded",
]  # fmt: skip

#: `(a, b) -> c`, pytrees of one structure; applied to whole levels, with any leading axes.
Combine = Callable[[Any, Any], Any]


def check_collections(x: Any, mask: Bool[Array, "G N"]) -> None:
    """Raises ValueError unless the mask is boolean `[G, N]`, N >= 1, and all leaves begin with these axes."""
    checks.require(mask.dtype == bool, "mask", "be boolean", mask.dtype)
    checks.require(mask.ndim == 2, "mask", "have shape (G, N)", mask.shape)
    for leaf in jax.tree.leaves(x):
        checks.require(leaf.shape[:2] == mask.shape, "mask", f"have shape {leaf.shape[:2]}", mask.shape)
    checks.require(mask.shape[1] >= 1, "x", "have at least one element on axis 1", mask.shape)


def _where(mask: Bool[Array, "..."], a: Any, b: Any) -> Any:
    """Leaves of `a` where the mask, which has their leading axes, is True."""

    def one(left, right):
        left, right = jnp.asarray(left), jnp.asarray(right)
        return jnp.where(mask.reshape(mask.shape + (1,) * (max(left.ndim, right.ndim) - mask.ndim)), left, right)

    return jax.tree.map(one, a, b)


def _emptied(x: Any, mask: Bool[Array, "..."], value: Any) -> Any:
    """Masked entries set to a value: a number, or a pytree like one element."""
    like_one = jax.tree.structure(value) == jax.tree.structure(x)
    return jax.tree.map(
        lambda leaf, at: _where(mask, leaf, jnp.broadcast_to(jnp.asarray(at, leaf.dtype), leaf.shape)),
        x, value if like_one else jax.tree.map(lambda _: value, x),
    )  # fmt: skip


def _level(combine: Combine, x: Any, mask: Bool[Array, "G N"]) -> tuple[Any, Bool[Array, "G M"]]:
    """Neighbours 2 i and 2 i + 1 combined; an odd last one goes up as it is."""
    pairs = mask.shape[1] // 2
    left = jax.tree.map(lambda leaf: leaf[:, 0 : 2 * pairs : 2], x)
    right = jax.tree.map(lambda leaf: leaf[:, 1 : 2 * pairs : 2], x)
    m_left, m_right = mask[:, 0 : 2 * pairs : 2], mask[:, 1 : 2 * pairs : 2]
    both = _where(m_left & m_right, combine(left, right), _where(m_left, left, right))
    above = jax.tree.map(lambda done, leaf: jnp.concatenate([done, leaf[:, 2 * pairs :]], axis=1), both, x)
    return above, jnp.concatenate([m_left | m_right, mask[:, 2 * pairs :]], axis=1)


def tree_levels(
    combine: Combine, x: Any, mask: Bool[Array, "G N"], *, fill: Any = 0.0
) -> list[tuple[Any, Bool[Array, "G M"]]]:
    """All levels of the tree, leaves first; M = N, ceil(N / 2), ..., 1. Arguments as those of `tree_reduce`."""
    check_collections(x, mask)
    levels = [(_emptied(x, mask, fill), mask)]
    while levels[-1][1].shape[1] > 1:
        levels.append(_level(combine, *levels[-1]))
    return levels


def tree_reduce(combine: Combine, x: Any, mask: Bool[Array, "G N"], *, empty: Any = 0.0, fill: Any = 0.0) -> Any:
    """Combines the elements of each collection by a balanced binary tree: depth ceil(log2 N), N - 1 operations.

    The tree is that of positions, as if N were padded to a power of two by absent elements.

    Args:
      combine: the operator; `(a, b)` pytrees with leaves `[G, M, ...]`, acting on each of the G M pairs alone.
      x: pytree with leaves `[G, N, ...]`.
      mask: `[G, N]`, True takes part.
      empty: the value of an empty collection: a number, or a pytree like one element.
      fill: stands in for absent operands, likewise; never in the result. Choose one where `combine` has a gradient.

    Returns:
      pytree with leaves `[G, ...]`.

    Raises:
      ValueError: a mask that is not boolean or not `[G, N]`; N = 0.
    """
    root, present = tree_levels(combine, x, mask, fill=fill)[-1]
    return _emptied(jax.tree.map(lambda leaf: leaf[:, 0], root), present[:, 0], empty)


def tree_reduce_sharded(
    combine: Combine, x: Any, mask: Bool[Array, "G N"], axis_name: str, *, empty: Any = 0.0, fill: Any = 0.0
) -> Any:
    """`tree_reduce` of elements split along the named axis, inside a mapped function; the same value on every shard.

    A shard reduces its own elements, roots are gathered and the tree is finished in the order of shards. It is the tree
    of the whole collection where a shard holds a power of two of elements.
    """
    root, present = tree_levels(combine, x, mask, fill=fill)[-1]
    roots = jax.tree.map(lambda leaf: jax.lax.all_gather(leaf[:, 0], axis_name, axis=1), root)
    everywhere = jax.lax.all_gather(present[:, 0], axis_name, axis=1)
    return tree_reduce(combine, roots, everywhere, empty=empty, fill=fill)


def fold_reduce(combine: Combine, x: Any, mask: Bool[Array, "G N"], *, empty: Any = 0.0, fill: Any = 0.0) -> Any:
    """The left fold ((x_1 o x_2) o x_3) ... over the elements that take part: N - 1 operations in a row.

    Arguments, result and errors as those of `tree_reduce`; `combine` gets leaves `[G, ...]`.
    """
    check_collections(x, mask)
    filled = _emptied(x, mask, fill)
    in_turn = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 1, 0), filled)

    def one(carry, element):
        value, seen = carry
        item, here = element
        combined = _where(seen & here, combine(value, item), _where(here, item, value))
        return (combined, seen | here), None

    first = jax.tree.map(lambda leaf: leaf[0], in_turn), mask[:, 0]
    rest = jax.tree.map(lambda leaf: leaf[1:], in_turn), mask[:, 1:].T
    (value, present), _ = jax.lax.scan(one, first, rest)
    return _emptied(value, present, empty)


def associator(combine: Combine, a: Any, b: Any, c: Any) -> Float[Array, "..."]:
    """Distance of (a o b) o c and a o (b o c), Euclidean over the last axis and all leaves; `[...]`."""
    left, right = combine(combine(a, b), c), combine(a, combine(b, c))
    parts = jax.tree.map(lambda u, v: jnp.sum(jnp.square(u - v), axis=-1), left, right)
    total = sum(jax.tree.leaves(parts))
    # The square root has no derivative at 0, which an associative operator reaches.
    return jnp.where(total > 0, jnp.sqrt(jnp.where(total > 0, total, 1)), 0)


def associator_penalty(combine: Combine, x: Any, mask: Bool[Array, "G N"], *, fill: Any = 0.0) -> Float[Array, ""]:
    """Mean squared associator over all runs of three neighbours at any level of the tree; 0 without such a run."""
    squares, count = jnp.zeros(()), jnp.zeros(())
    for nodes, present in tree_levels(combine, x, mask, fill=fill):
        triples = present.shape[1] - 2
        if triples < 1:
            continue
        three = [jax.tree.map(lambda leaf: leaf[:, i : i + triples], nodes) for i in range(3)]  # noqa: B023
        whole = present[:, :triples] & present[:, 1 : triples + 1] & present[:, 2:]
        squares += jnp.sum(jnp.where(whole, jnp.square(associator(combine, *three)), 0))
        count += jnp.sum(whole)
    return squares / jnp.maximum(count, 1)


def _shuffled_places(mask: Bool[Array, "G N"], key: Key) -> Int[Array, "G N"]:
    """Where each place takes its element from: elements that take part change places among themselves."""
    drawn = jnp.where(mask, jax.random.uniform(key, mask.shape), jnp.inf)
    order, places = jnp.argsort(drawn, axis=1), jnp.argsort(~mask, axis=1, stable=True)
    return jnp.put_along_axis(order, places, order, axis=1, inplace=False)


def _taken(x: Any, places: Int[Array, "G N"]) -> Any:
    return jax.tree.map(lambda leaf: jax.vmap(lambda rows, at: rows[at])(leaf, places), x)


def permuted_elements(x: Any, mask: Bool[Array, "G N"], key: Key) -> Any:
    """Elements that take part in a random order, in the places that took part before."""
    return _taken(x, _shuffled_places(mask, key))


def decisions(
    decide: Callable[[Any, Bool[Array, "G N"]], Array], x: Any, mask: Bool[Array, "G N"], key: Key, draws: int = 4
) -> Array:
    """What is decided of each collection, `[1 + draws, G]`: first of the given order, then of random ones.

    Args:
      decide: `(x, mask) -> [G]`, integers such as predicted classes.
      draws: random orders of each collection, >= 1.
    """
    checks.at_least("draws", draws, 1)
    given = jnp.broadcast_to(jnp.arange(mask.shape[1]), (1, *mask.shape))
    others = jax.vmap(lambda one: _shuffled_places(mask, one))(jax.random.split(key, draws))
    return jax.lax.map(lambda places: decide(_taken(x, places), mask), jnp.concatenate([given, others]))


def flip_rate(
    decide: Callable[[Any, Bool[Array, "G N"]], Array], x: Any, mask: Bool[Array, "G N"], key: Key, draws: int = 4
) -> Float[Array, ""]:
    """Share of collections and random orders in which a decision is not the one of the given order, in [0, 1].

    Arguments as those of `decisions`.
    """
    found = decisions(decide, x, mask, key, draws)
    return jnp.mean(found[1:] != found[:1])


def order_spread_bound(count, associator_bound):
    """How far apart left folds of `count` elements in two orders can be, T10: n (n - 1) eps. [derived]

    Holds for a commutative operator that is 1-Lipschitz in each argument and whose associator is at most eps on all
    values that it meets: swapping neighbours costs 2 eps, and n (n - 1) / 2 swaps reach any order.
    """
    return count * (count - 1) * associator_bound


def tree_fold_bound(count, associator_bound):
    """How far the balanced tree can be from the left fold of `count` >= 2 elements, T10: (n - 2) eps. [derived]"""
    return (count - 2) * associator_bound


def example(key: Key) -> dict[str, Operator]:
    """Trees of an operator that has an identity and of one that is not associative."""

    def blunted(a, b):  # commutative, 1-Lipschitz, almost associative
        return 0.99 * jnp.hypot(a, b)

    x = jax.random.normal(key, (2, 5, 3))
    mask = jnp.array([[True, False, True, True, False], [False] * 5])
    return {
        "sum tree": Operator(
            lambda _, x, mask: tree_reduce(jnp.add, x, mask), (), x, "x_1 + ... + x_n by a balanced tree",
            "ong:22", "pooling/fig_parity", mask, ("permutation", "homogeneous", "monotone"),
        ),
        "hypotenuse tree": Operator(
            lambda _, x, mask: tree_reduce(blunted, x, mask, fill=1.0), (), x, "0.99 hypot(a, b) by a balanced tree",
            "ong:22", "pooling/fig_parity", mask,
        ),
    }  # fmt: skip
