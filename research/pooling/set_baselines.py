"""What a new pooling of sets is compared with: PMA of the Set Transformer, Set2Set, PNA's statistics, LAF.

Each takes the layouts of `sets`; elements that take no part touch neither outputs nor gradients, and results are the
same for elements in any order. Deep Sets are in `superset`, attention with one weight an element in `attention`.

Source: `lee:19` section 3.2 for PMA, `vinyals:16` section 4.2 for Set2Set, `corso:20` equations 5 to 8 for PNA,
`pellegrini:21` equations 1 and 2 for LAF; all recalled. PMA is without layer normalisation and without the row-wise
network before it, as the released code has it.

Letters: `G` sets, `N` elements of a padded set, `M` elements in all, `D` channels, `K` seeds, `U` units.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float, Key
from research.pooling import layouts, softmax_monoid
from research.pooling.operator import Operator

__all__ = ["LAF", "PMA", "Set2Set", "example", "pna"]

#: Distance from 0 and 1 that LAF keeps, where powers below 1 have no slope.
MARGIN = 1e-7


class PMA(eqx.Module):
    """Pooling by multihead attention: K learned seeds ask, the elements of a set answer.

    With heads side by side, o = S W_q + softmax(S W_q (x W_k)^T / sqrt(D)) x W_v, y = o + relu(o W_o + b).

    Attributes:
      seeds: S.
      query, key, value, out: W_q, W_k, W_v, W_o.
      bias: b.
      heads: divides D.
    """

    seeds: Float[Array, "K D"]
    query: Float[Array, "D D"]
    key: Float[Array, "I D"]
    value: Float[Array, "I D"]
    out: Float[Array, "D D"]
    bias: Float[Array, " D"]
    heads: int = eqx.field(static=True)

    @classmethod
    def create(cls, key: Key, dim: int, width: int, seeds: int = 1, heads: int = 4) -> "PMA":
        """Weights N(0, 1 / inputs), of elements with `dim` channels and answers of `width`; the bias 0.

        Raises: ValueError for a number below 1, or heads that do not divide the width.
        """
        for name, number in (("dim", dim), ("width", width), ("seeds", seeds), ("heads", heads)):
            checks.at_least(name, number, 1)
        checks.require(width % heads == 0, "heads", f"divide the width {width}", heads)
        shapes = ((seeds, width), (width, width), (dim, width), (dim, width), (width, width))
        inputs = (width, width, dim, dim, width)
        weights = [
            jax.random.normal(k, shape) * np.float32(n**-0.5)
            for k, shape, n in zip(jax.random.split(key, 5), shapes, inputs, strict=True)
        ]
        return cls(*weights, jnp.zeros(width), heads)

    def __call__(self, x: Array, mask=None, *, empty: float = 0.0, **layout) -> Float[Array, "G KD"]:
        """The K answers side by side.

        Args:
          x: `[G, N, I]`, or `[M, I]` with segment ids.
          mask, layout: as in `layouts.layout_of`.
          empty: of a set without elements, with zero gradient.
        """
        how, x, wide = _laid_out(x, mask, layout)
        count, width = self.seeds.shape
        checks.shape("x", x, (*np.shape(x)[:-1], self.key.shape[0]))
        asked, part = self.seeds @ self.query, width // self.heads
        by_head = (wide @ self.key).reshape(*wide.shape[:-1], self.heads, part)
        logits = jnp.einsum("...hp,khp->...kh", by_head, asked.reshape(count, self.heads, part)) / math.sqrt(width)
        logits = jnp.repeat(logits.reshape(*wide.shape[:-1], -1), part, axis=-1)
        answers = jnp.tile(wide @ self.value, (1,) * (wide.ndim - 1) + (count,))
        found = asked[None] + softmax_monoid.pooled(how, logits, answers).reshape(-1, count, width)
        found = found + jax.nn.relu(found @ self.out + self.bias[None, None])
        return _unless_empty(how, found.reshape(-1, count * width), empty, x)


class Set2Set(eqx.Module):
    """A recurrent cell without inputs that reads a set by attention, a few times over: `[q, r]` after the last.

    q, c = LSTM([q, r], c); a = softmax_i(x_i q); r = sum_i a_i x_i; from q = r = c = 0. Gates in the order input,
    forget, cell, output.

    Attributes:
      kernel, recurrent, bias: of the cell, with inputs [q, r] and hidden value q.
      steps: how often it reads.
    """

    kernel: Float[Array, "2D 4D"]
    recurrent: Float[Array, "D 4D"]
    bias: Float[Array, " 4D"]
    steps: int = eqx.field(static=True, default=3)

    @classmethod
    def create(cls, key: Key, dim: int, steps: int = 3) -> "Set2Set":
        """Weights uniform in +-1/sqrt(D), as LSTMs have them."""
        checks.at_least("dim", dim, 1)
        checks.at_least("steps", steps, 1)
        keys, bound = jax.random.split(key, 3), dim**-0.5
        shapes = ((2 * dim, 4 * dim), (dim, 4 * dim), (4 * dim,))
        return cls(*(jax.random.uniform(k, s, minval=-bound, maxval=bound) for k, s in zip(keys, shapes, strict=True)),
                   steps)  # fmt: skip

    def __call__(self, x: Array, mask=None, *, empty: float = 0.0, **layout) -> Float[Array, "G 2D"]:
        """What the cell holds after its last reading; arguments as of `PMA`, with D channels."""
        how, x, wide = _laid_out(x, mask, layout)
        dim = self.recurrent.shape[0]
        checks.shape("x", x, (*np.shape(x)[:-1], dim))
        groups = how.count.shape[0]

        def read(carry, _):
            q, r, cell = carry
            gates = jnp.concatenate([q, r], axis=1) @ self.kernel + q @ self.recurrent + self.bias[None]
            enter, forget, new, leave = jnp.split(gates, 4, axis=1)
            cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(new)
            q = jax.nn.sigmoid(leave) * jnp.tanh(cell)
            logits = (wide * how.spread(q)).sum(axis=-1, keepdims=True)
            return (q, softmax_monoid.pooled(how, logits, wide), cell), None

        start = (jnp.zeros((groups, dim), wide.dtype),) * 3
        (q, r, _), _ = jax.lax.scan(read, start, length=self.steps)
        return _unless_empty(how, jnp.concatenate([q, r], axis=1), empty, x)


def pna(
    x: Array, mask=None, *, delta: float | Array, eps: float = 1e-5, empty: float = 0.0, **layout
) -> Float[Array, "G 12D"]:
    """Four statistics under three scalings by the size of the set, side by side.

    (1, s, 1/s) times (mean, max, min, std), s = log(n + 1) / delta; scalings vary slowest. std is sqrt(var + eps),
    whose slope is finite where all elements are equal.

    Args:
      x: `[G, N, D]`, or `[M, D]` with segment ids.
      mask, layout: as in `layouts.layout_of`.
      delta: mean of log(n + 1) over the sets of the training data, > 0.
      empty: of a set without elements, with zero gradient.

    Raises: ValueError for delta or eps not positive, and for what `layouts.layout_of` refuses.
    """
    checks.positive("delta", delta)
    checks.positive("eps", eps)
    how, x, wide = _laid_out(x, mask, layout)
    size = jnp.maximum(how.count, 1).astype(wide.dtype)
    mean = how.sum(wide) / size
    std = jnp.sqrt(how.sum((wide - how.spread(mean)) ** 2) / size + eps)
    statistics = jnp.concatenate([mean, layouts.maximum(how, wide), -layouts.maximum(how, -wide), std], axis=1)
    statistics = jnp.where(how.count > 0, statistics, 0)
    scale = jnp.log(size + 1) / delta
    return _unless_empty(how, jnp.concatenate([statistics, scale * statistics, statistics / scale], axis=1), empty, x)


class LAF(eqx.Module):
    """A learned aggregation of elements in [0, 1], U units a channel: a quotient of sums of powers.

    (alpha L_ab(x) + beta L_cd(1 - x)) / (gamma L_ef(x) + delta L_gh(1 - x)), L_ab(x) = (sum_i x_i^b)^a. Sum, mean,
    maximum, minimum, counts and moments are among them or limits of them.

    Attributes:
      powers: (a, b), (c, d), (e, f), (g, h), through a softplus, so that they stay positive.
      weights: alpha, beta, gamma, delta; the last two through a softplus, so that nothing is divided by zero.
    """

    powers: Float[Array, "4 2 U"]
    weights: Float[Array, "4 U"]

    @classmethod
    def create(cls, key: Key, units: int = 9) -> "LAF":
        """Standard normal before the softplus."""
        checks.at_least("units", units, 1)
        of_powers, of_weights = jax.random.split(key)
        return cls(jax.random.normal(of_powers, (4, 2, units)), jax.random.normal(of_weights, (4, units)))

    def __call__(self, x: Array, mask=None, *, empty: float = 0.0, **layout) -> Float[Array, "G UD"]:
        """The units side by side, each with all channels; arguments as of `PMA`.

        Entries within 1e-7 of 0 or 1 count as that far from them, without slope. Raises: ValueError for x outside of
        [0, 1], where it is concrete, and for what `layouts.layout_of` refuses.
        """
        how, x, wide = _laid_out(x, mask, layout, fill=0.5)
        checks.in_range("x", wide, 0.0, 1.0)
        inside = jnp.clip(wide, MARGIN, 1 - MARGIN)[..., None, :]
        powers = jax.nn.softplus(self.powers).reshape(4, 2, -1, 1)
        alpha, beta, gamma, delta = self.weights[..., None]

        def term(number):
            outer, inner = powers[number]
            logs = jnp.log(inside if number % 2 == 0 else 1 - inside)
            terms = inner.reshape((1,) * (wide.ndim - 1) + inner.shape) * logs
            total = softmax_monoid.log_total(how, terms.reshape(*wide.shape[:-1], -1))
            return jnp.exp(
                outer[None] * total.reshape(-1, *terms.shape[-2:])
            )  # powers may underflow, logarithms do not

        above = alpha[None] * term(0) + beta[None] * term(1)
        below = jax.nn.softplus(gamma)[None] * term(2) + jax.nn.softplus(delta)[None] * term(3)
        found = above / below
        return _unless_empty(how, found.reshape(found.shape[0], -1), empty, x)


def _laid_out(x, mask, layout, fill=0.0):
    """The layout, the elements, and the elements in float32 at least, `fill` where they take no part."""
    how, x = layouts.layout_of(x, mask=mask, **layout), jnp.asarray(x)
    return how, x, how.where(x.astype(jnp.promote_types(x.dtype, jnp.float32)), fill)


def _unless_empty(how, found, empty, x):
    found = jnp.where(how.count > 0, found, jnp.asarray(empty).astype(found.dtype))
    return found.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else found


def example(key: Key) -> dict[str, Operator]:
    """Three sets of up to five elements."""
    of_x, of_pma, of_set2set, of_laf = jax.random.split(key, 4)
    x = jax.random.normal(of_x, (3, 5, 3))
    mask = jnp.arange(5)[None] < jnp.array([5, 3, 1])[:, None]

    def operator(module, formula, source, inputs=x):
        return Operator(lambda module, x, mask: module(x, mask), module, inputs, formula, source, "", mask,
                        ("permutation",))  # fmt: skip

    return {
        "pma": operator(
            PMA.create(of_pma, 3, 4, seeds=2, heads=2),
            "y = o + relu(o W + b), o = S W_q + softmax(S W_q (x W_k)^T / sqrt(D)) x W_v", "lee:19",
        ),
        "set2set": operator(
            Set2Set.create(of_set2set, 3), "[q, r] after T times q = LSTM([q, r]), r = sum_i softmax_i(x_i q) x_i",
            "vinyals:16",
        ),
        "pna": Operator(
            lambda _, x, mask: pna(x, mask, delta=1.3), (), x,
            "(1, s, 1/s) times (mean, max, min, std), s = log(n + 1) / delta", "corso:20", "", mask, ("permutation",),
        ),
        "laf": operator(
            LAF.create(of_laf, 2),
            "(alpha L_ab(x) + beta L_cd(1 - x)) / (gamma L_ef(x) + delta L_gh(1 - x)), L_ab(x) = (sum_i x_i^b)^a",
            "pellegrini:21", jax.nn.sigmoid(x),
        ),
    }  # fmt: skip
