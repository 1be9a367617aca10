"""Aggregators that are commutative monoids by construction, or can be proved to be one after training.

Three that learn how an element enters the monoid, and in the last case the monoid itself:

* `ConjugatedSum`: g^{-1}(sum_i g(x_i)), g a chain of additive couplings, which is invertible whatever its weights are.
  The identity is g^{-1}(0). As expressive as a sum, no more: what a sum cannot extrapolate, this cannot.
* `TropicalPolynomials`: truncated polynomials over (min, +). The product of 1 + t^k-terms holds the sums of the k
  smallest elements, which stay bounded however many elements there are.
* `CayleyTables`: multiplication tables of K states whose entries are distributions. Rounded to the likeliest entries,
  `table_defects` counts by exhaustion what one lacks of a commutative monoid on the states that elements can reach:
  without defects it gives the same state for every order, every tree and every number of elements.

Source: ours, for the problem of `ong:22`; additive couplings are those of `dinh:15`.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.pooling import monoid
from research.pooling.operator import Operator

__all__ = [
    "CayleyTables", "ConjugatedSum", "Couplings", "Defects", "TropicalPolynomials", "couple", "example",
    "generated_states", "hard_table",
    "tropical_matrix_product", "tropical_product", "table_defects", "table_product", "uncouple",
]  # fmt: skip


class Couplings(eqx.Module):
    """Weights of J additive couplings of width H, even: half a moves half b by an MLP, then they change places."""

    first: Float[Array, "J H/2 M"]
    bias: Float[Array, "J M"]
    second: Float[Array, "J M H/2"]


def _affine(x: Float[Array, "... D"], kernel: Float[Array, "D C"], bias: Float[Array, " C"]) -> Float[Array, "... C"]:
    out = x @ kernel
    return out + jnp.broadcast_to(bias, out.shape)


def _moved(layer: Couplings, half: Float[Array, "... H/2"]) -> Float[Array, "... H/2"]:
    return jnp.tanh(_affine(half, layer.first, layer.bias)) @ layer.second


def couple(couplings: Couplings, x: Float[Array, "... H"]) -> Float[Array, "... H"]:
    """g(x): for each coupling (a, b) -> (b + MLP(a), a). Volume-preserving."""

    def one(halves, layer):
        a, b = halves
        return (b + _moved(layer, a), a), None

    return jnp.concatenate(jax.lax.scan(one, tuple(jnp.split(x, 2, axis=-1)), couplings)[0], axis=-1)


def uncouple(couplings: Couplings, y: Float[Array, "... H"]) -> Float[Array, "... H"]:
    """g^{-1}(y), exact up to rounding."""

    def one(halves, layer):
        b, a = halves
        return (a, b - _moved(layer, a)), None

    return jnp.concatenate(jax.lax.scan(one, tuple(jnp.split(y, 2, axis=-1)), couplings, reverse=True)[0], axis=-1)


class ConjugatedSum(eqx.Module):
    """g^{-1}(sum_i g(x_i)); the empty collection gives the identity g^{-1}(0)."""

    couplings: Couplings

    @classmethod
    def create(cls, key: Key, width: int, hidden: int = 32, layers: int = 4) -> "ConjugatedSum":
        """`layers` couplings with `hidden` units each.

        Raises:
          ValueError: an odd width, or less than 1 layer or unit.
        """
        checks.require(width >= 2 and width % 2 == 0, "width", "be even and >= 2", width)
        checks.at_least("hidden", hidden, 1)
        checks.at_least("layers", layers, 1)
        one, other = jax.random.split(key)
        first = jax.random.normal(one, (layers, width // 2, hidden)) / (width / 2) ** 0.5
        second = jax.random.normal(other, (layers, hidden, width // 2)) * (0.5 / hidden**0.5)
        return cls(Couplings(first, jnp.zeros((layers, hidden)), second))

    def combine(self, a: Float[Array, "... H"], b: Float[Array, "... H"]) -> Float[Array, "... H"]:
        """g^{-1}(g(a) + g(b)), the operator of the monoid."""
        return uncouple(self.couplings, couple(self.couplings, a) + couple(self.couplings, b))

    def __call__(self, x: Float[Array, "G N H"], mask: Bool[Array, "G N"]) -> Float[Array, "G H"]:
        monoid.check_collections(x, mask)
        inside = couple(self.couplings, jnp.where(mask[..., None], x, 0))
        return uncouple(self.couplings, jnp.sum(jnp.where(mask[..., None], inside, 0), axis=1))


def tropical_product(a: Float[Array, "... K"], b: Float[Array, "... K"]) -> Float[Array, "... K"]:
    """Product of polynomials over (min, +) cut after t^K: c_k = min over i + j = k of a_i + b_j, where a_0 = b_0 = 0.

    The leading coefficients 0 are left out: entry k - 1 belongs to t^k. Commutative and associative, since ordinary
    polynomials are and cutting is a homomorphism; the identity has all entries +inf (or large enough).
    """
    degree = a.shape[-1]
    found = []
    for k in range(1, degree + 1):
        terms = [a[..., k - 1], b[..., k - 1]]
        terms += [a[..., i - 1] + b[..., k - i - 1] for i in range(1, k)]
        found.append(functools.reduce(jnp.minimum, terms))
    return jnp.stack(found, axis=-1)


def tropical_matrix_product(a: Float[Array, "... I J"], b: Float[Array, "... J K"]) -> Float[Array, "... I K"]:
    """Product of matrices over (min, +): c_ik = min over j of a_ij + b_jk. Associative, not commutative.

    Upper triangular matrices with equal entries along diagonals commute; `tropical_product` is their product.
    """
    return jnp.min(a[..., :, :, None] + b[..., None, :, :], axis=-2)


class TropicalPolynomials(eqx.Module):
    """C channels of tropical polynomials of degree K. An element enters as 1 + f(x) t with a learned f, linear in x.

    The product over a collection then has as its k-th coefficient the sum of the k smallest f(x_i), so that returned
    are these order statistics, one after the other: channel c, position k holds the (k + 1)-th smallest f_c(x_i).
    A position beyond the number of elements is 0.
    """

    kernel: Float[Array, "D C"]
    bias: Float[Array, " C"]
    degree: int = eqx.field(static=True)

    @classmethod
    def create(cls, key: Key, inputs: int, channels: int, degree: int = 2) -> "TropicalPolynomials":
        """Kernel entries N(0, 1 / D), bias 0."""
        checks.at_least("inputs", inputs, 1)
        checks.at_least("channels", channels, 1)
        checks.at_least("degree", degree, 1)
        return cls(jax.random.normal(key, (inputs, channels)) / inputs**0.5, jnp.zeros(channels), degree)

    def __call__(self, x: Float[Array, "G N D"], mask: Bool[Array, "G N"]) -> Float[Array, "G C*K"]:
        monoid.check_collections(x, mask)
        entered = _affine(jnp.where(mask[..., None], x, 0), self.kernel, self.bias)
        wide = entered.astype(jnp.promote_types(entered.dtype, jnp.float32))
        # Absent coefficients: a sum of `degree` of them stays finite, and finite terms leave no trace in such a sum.
        absent = float(jnp.finfo(wide.dtype).max) / (4 * self.degree)
        terms = jnp.full((*wide.shape, self.degree), absent, wide.dtype).at[..., 0].set(wide)
        sums = monoid.tree_reduce(tropical_product, terms, mask, fill=absent, empty=absent)
        there = ~(sums >= absent / 2)  # True for NaN, which is to be seen
        statistics = jnp.diff(jnp.where(there, sums, 0), prepend=0, axis=-1)
        return jnp.where(there, statistics, 0).astype(entered.dtype).reshape(x.shape[0], -1)


def table_product(
    tables: Float[Array, "M K K K"], p: Float[Array, "... M K"], q: Float[Array, "... M K"]
) -> Float[Array, "... M K"]:
    """Distribution of the product of two independent states, for each of M tables: sum_ij p_i q_j T_ij."""
    return jnp.einsum("...mi,...mj,mijk->...mk", p, q, tables)


def hard_table(table: Float[Array, "... K K K"]) -> Int[Array, "... K K"]:
    """The likeliest product of each pair of states."""
    return jnp.argmax(table, axis=-1).astype(jnp.int32)


class Defects(NamedTuple):
    """What a finite table lacks of a commutative monoid with identity 0; all zero for one. S states are looked at."""

    associativity: int  # triples (i, j, k) with (i j) k != i (j k), of S^3
    commutativity: int  # pairs with i j != j i, of S^2
    identity: int  # states with 0 i != i or i 0 != i, of S


def _checked_table(table: Int[Array, "K K"]) -> np.ndarray:
    table = np.asarray(table)
    checks.require(table.ndim == 2 and table.shape[0] == table.shape[1], "table", "be square", table.shape)
    checks.in_range("table", table, 0, len(table) - 1)
    return table


def generated_states(table: Int[Array, "K K"], generators: Int[Array, " N"]) -> np.ndarray:
    """The identity 0, the generators, and all products of what is there already, sorted; on the host.

    No collection whose elements enter as generators ever reaches another state, in any order and by any tree.

    Raises:
      ValueError: a table that is not square, or entries or generators outside [0, K).
    """
    table = _checked_table(table)
    checks.in_range("generators", generators, 0, len(table) - 1)
    found = np.union1d([0], np.asarray(generators))
    while len(more := np.union1d(found, table[np.ix_(found, found)])) > len(found):
        found = more
    return found


def table_defects(table: Int[Array, "K K"], states: Int[Array, " S"] | None = None) -> Defects:
    """Counts by exhaustion, on the host.

    Args:
      states: those to look at, such as `generated_states`; None for all.

    Raises:
      ValueError: a table that is not square, or entries or states outside [0, K).
    """
    table = _checked_table(table)
    states = np.arange(len(table)) if states is None else np.asarray(states)
    checks.in_range("states", states, 0, len(table) - 1)
    products = table[np.ix_(states, states)]
    left, right = table[products[:, :, None], states], table[states[:, None, None], products[None]]
    identity = (table[0, states] != states) | (table[states, 0] != states)
    return Defects(int((left != right).sum()), int((products != products.T).sum()), int(identity.sum()))


class CayleyTables(eqx.Module):
    """M learned multiplications of K states; an element enters each as a distribution over its states.

    State 0 is the identity and products do not depend on the order of two states, by construction; associativity is
    learned, and proved or refuted by `table_defects` of each of `hard_table(self.tables())` on its `generated_states`.
    """

    kernel: Float[Array, "D M*K"]
    bias: Float[Array, " M*K"]
    logits: Float[Array, "M K K K"]

    @classmethod
    def create(cls, key: Key, inputs: int, states: int, tables: int = 1, scale: float = 1.0) -> "CayleyTables":
        """Kernel entries N(0, scale^2), logits of products N(0, scale^2), bias 0.

        A small scale starts near uniform distributions, which forget what they are multiplied with.
        """
        checks.at_least("inputs", inputs, 1)
        checks.at_least("states", states, 2)
        checks.at_least("tables", tables, 1)
        checks.positive("scale", scale)
        rows = scale * jax.random.normal(key, (inputs + states**2, tables * states))
        logits = jnp.moveaxis(rows[inputs:].reshape(states, states, tables, states), 2, 0)
        return cls(rows[:inputs], jnp.zeros(tables * states), logits)

    def tables(self) -> Float[Array, "M K K K"]:
        """Entry m, i, j is the distribution of the product of states i and j of table m."""
        soft = jax.nn.softmax((self.logits + jnp.swapaxes(self.logits, 1, 2)) / 2, axis=-1)
        states = jnp.broadcast_to(jnp.eye(soft.shape[-1], dtype=soft.dtype), soft[:, 0].shape)
        return soft.at[:, 0].set(states).at[:, :, 0].set(states)

    def enter(self, x: Float[Array, "... D"]) -> Float[Array, "... M K"]:
        """Distribution over states of each element."""
        logits = _affine(x, self.kernel, self.bias)
        return jax.nn.softmax(logits.reshape(*logits.shape[:-1], *self.logits.shape[:2]), axis=-1)

    def __call__(
        self, x: Float[Array, "G N D"], mask: Bool[Array, "G N"], *, hard: bool = False
    ) -> Float[Array, "G M*K"]:
        """Distributions over the states of each collection; those of an empty one are the identities.

        Args:
          hard: round elements and tables to their likeliest states: exact for any number of elements, no gradient.
        """
        monoid.check_collections(x, mask)
        entered, tables = self.enter(jnp.where(mask[..., None], x, 0)), self.tables()
        count, size = entered.shape[-2:]
        identity = jnp.eye(size, dtype=entered.dtype)[0]
        if hard:
            multiply, place = hard_table(tables), jnp.arange(count)
            likeliest = jnp.argmax(entered, axis=-1)

            def product(i, j):
                return multiply[jnp.broadcast_to(place, i.shape), i, j]

            found = jax.nn.one_hot(monoid.tree_reduce(product, likeliest, mask), size, dtype=entered.dtype)
        else:
            found = monoid.tree_reduce(
                lambda p, q: table_product(tables, p, q), entered, mask, fill=identity, empty=identity
            )
        return found.reshape(x.shape[0], -1)


def example(key: Key) -> dict[str, Operator]:
    """Each with initial weights."""
    keys = jax.random.split(key, 4)
    x = jax.random.normal(keys[0], (2, 5, 4))
    mask = jnp.array([[True, False, True, True, False], [True] * 5])

    def apply(params, x, mask):
        return params(x, mask)

    figure = "pooling/fig_parity"
    return {
        "conjugated sum": Operator(
            apply, ConjugatedSum.create(keys[1], 4, 8, 3), x, "g^-1(sum_i g(x_i)), g additive couplings",
            "ours; couplings of dinh:15", figure, mask, ("permutation",),
        ),
        "tropical polynomials": Operator(
            apply, TropicalPolynomials.create(keys[2], 4, 3), x, "coefficients of the (min, +) product of 1 + f(x_i) t",
            "ours", figure, mask, ("permutation",),
        ),
        "Cayley tables": Operator(
            apply, CayleyTables.create(keys[3], 4, 3, 2), x, "tree of sum_ij p_i q_j T_ij", "ours", figure, mask,
        ),
    }  # fmt: skip
