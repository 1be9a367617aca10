"""Sets through a sum of encoded elements (DeepSets), and subsets that see the set they are drawn from (INSET).

A target that depends on a subset S and on its superset V needs an invariant statistic of V: what a model of S alone
misses is the variance of the target given S (T12, `set_bounds.irreducible_error`).

Source: `zaheer:17` for DeepSets, `xie:24` for the superset, by the formula of its abstract:
rho([sum_{i in S} phi(x_i), sum_{i in V} psi(x_i)]).

Letters: `G` sets, `N` elements of a padded set, `D` channels, `H` hidden units, `E` outputs.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key
from research.pooling.operator import Operator
from research.pooling.sets import set_pool

__all__ = ["DeepSets", "Perceptron", "SupersetPool", "SupersetScores", "example", "superset_pool"]


class Perceptron(eqx.Module):
    """Affine maps with ReLU between them, on the last axis."""

    weights: tuple[Float[Array, "I O"], ...]
    biases: tuple[Float[Array, " O"], ...]

    @classmethod
    def create(cls, key: Key, *widths: int) -> "Perceptron":
        """Widths from input to output, at least two; weights N(0, 2 / inputs), biases 0."""
        checks.require(len(widths) >= 2 and min(widths) >= 1, "widths", "be two or more numbers >= 1", widths)
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        keys = jax.random.split(key, len(pairs))
        weights = [
            jax.random.normal(k, pair) * np.float32(np.sqrt(2 / pair[0])) for k, pair in zip(keys, pairs, strict=True)
        ]
        return cls(tuple(weights), tuple(jnp.zeros(out) for _, out in pairs))

    def __call__(self, x: Float[Array, "*S I"]) -> Float[Array, "*S O"]:
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight
            x = x + bias.reshape((1,) * (x.ndim - 1) + bias.shape)
            x = jax.nn.relu(x) if layer + 1 < len(self.weights) else x
        return x


class DeepSets(eqx.Module):
    """rho(pool_i phi(x_i)), with any kind of `set_pool`; float32 at least."""

    encoder: Perceptron
    head: Perceptron
    kind: str = eqx.field(static=True, default="sum")

    @classmethod
    def create(cls, key: Key, dim: int, hidden: int, outputs: int = 1, kind: str = "sum") -> "DeepSets":
        of_encoder, of_head = jax.random.split(key)
        encoder = Perceptron.create(of_encoder, dim, hidden, hidden)
        return cls(encoder, Perceptron.create(of_head, hidden, hidden, outputs), kind)

    def __call__(self, x: Float[Array, "G N D"], mask: Bool[Array, "G N"] | None = None) -> Float[Array, "G E"]:
        return self.head(set_pool(self.encoder(_cleaned(x, mask)), self.kind, mask=mask))


def superset_pool(
    of_subset: Float[Array, "G N H"], of_superset: Float[Array, "G N K"], subset: Bool[Array, "G N"],
    superset: Bool[Array, "G N"] | None = None, *, kind: str = "sum",
) -> Float[Array, "G HK"]:  # fmt: skip
    """[pool_{i in S} phi(x_i), pool_{i in V} psi(x_i)], the same for elements in any order that S follows.

    Args:
      of_subset, of_superset: phi(x), psi(x) of all elements.
      subset: membership in S.
      superset: membership in V, None for all; S is S and V.
      kind: "sum" or "mean".

    Raises: ValueError for another kind or a wrong mask.
    """
    checks.one_of("kind", kind, ("sum", "mean"))
    checks.shape("subset", subset, np.shape(of_subset)[:2])
    subset = subset if superset is None else subset & superset
    pooled = set_pool(of_subset, kind, mask=subset), set_pool(of_superset, kind, mask=superset)
    return jnp.concatenate(pooled, axis=-1)


class SupersetPool(eqx.Module):
    """rho of `superset_pool`."""

    of_subset: Perceptron
    of_superset: Perceptron
    head: Perceptron
    kind: str = eqx.field(static=True, default="mean")

    @classmethod
    def create(cls, key: Key, dim: int, hidden: int, outputs: int = 1, kind: str = "mean") -> "SupersetPool":
        keys = jax.random.split(key, 3)
        encoders = [Perceptron.create(k, dim, hidden, hidden) for k in keys[:2]]
        return cls(*encoders, Perceptron.create(keys[2], 2 * hidden, hidden, outputs), kind)

    def __call__(
        self, x: Float[Array, "G N D"], subset: Bool[Array, "G N"], superset: Bool[Array, "G N"] | None = None
    ) -> Float[Array, "G E"]:
        x = _cleaned(x, superset)
        return self.head(superset_pool(self.of_subset(x), self.of_superset(x), subset, superset, kind=self.kind))


class SupersetScores(eqx.Module):
    """head([phi(x_i), pool_{j in V} psi(x_j)]): a logit per element, for choosing a subset of V."""

    encoder: Perceptron
    of_superset: Perceptron
    head: Perceptron
    kind: str = eqx.field(static=True, default="mean")

    @classmethod
    def create(cls, key: Key, dim: int, hidden: int, kind: str = "mean") -> "SupersetScores":
        keys = jax.random.split(key, 3)
        encoders = [Perceptron.create(k, dim, hidden, hidden) for k in keys[:2]]
        return cls(*encoders, Perceptron.create(keys[2], 2 * hidden, hidden, 1), kind)

    def __call__(
        self, x: Float[Array, "G N D"], superset: Bool[Array, "G N"] | None = None
    ) -> Float[Array, "G N"]:  # fmt: skip
        """0 at elements outside V."""
        x = _cleaned(x, superset)
        own = self.encoder(x)
        whole = set_pool(self.of_superset(x), self.kind, mask=superset)
        whole = jnp.broadcast_to(whole[:, None], own.shape[:2] + whole.shape[-1:])
        logits = self.head(jnp.concatenate([own, whole], axis=-1))[..., 0]
        return logits if superset is None else jnp.where(superset, logits, 0)


def _cleaned(x, mask):
    """Float32 at least, and 0 at elements that take no part: encoders must not see what they hold."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return x if mask is None else jnp.where(mask[..., None], x, 0)


def example(key) -> dict[str, Operator]:
    """Three sets of up to five elements; S is every second element."""
    of_x, of_sets, of_pool, of_scores = jax.random.split(key, 4)
    x = jax.random.normal(of_x, (3, 5, 2))
    mask = jnp.arange(5)[None] < jnp.array([5, 3, 1])[:, None]

    def superset(module, x, mask):
        return module(x, mask & (jnp.arange(5) % 2 == 0)[None], mask)

    def plain(module, x, mask):
        return module(x, mask)

    return {
        "deep_sets": Operator(
            plain, DeepSets.create(of_sets, 2, 4), x, "rho(sum_i phi(x_i))", "zaheer:17", "", mask, ("permutation",)
        ),
        "superset_pool": Operator(
            superset, SupersetPool.create(of_pool, 2, 4), x, "rho([mean_{i in S} phi(x_i), mean_{i in V} psi(x_i)])",
            "xie:24", "pooling/fig_superset", mask,
        ),
        "superset_scores": Operator(
            plain, SupersetScores.create(of_scores, 2, 4), x, "rho([phi(x_i), mean_{j in V} psi(x_j)])", "xie:24",
            "pooling/fig_superset", mask,
        ),
    }  # fmt: skip
