"""Low-rank bilinear pooling of two vectors (LowFER): z_j = sum_m (e U)_{jk+m} (r V)_{jk+m}, m = 0, ..., k - 1.

Every output j is a bilinear form e' M_j r with M_j = U_j V_j' of rank at most k. As a model of triples (head, relation,
tail) it scores tails by <z(e_head, r_relation), e_tail>, and it can express any set of triples (`separating`, theorem
T17 in `robust_bounds`). k = 1 and U = V = I is DistMult.
Source: `amin:20`, proposition 1 and the public code. Departures: no batch norm and no dropout around it, those are the
caller's; the rank that is needed is the largest rank of a tail's truth matrix, which is at most the paper's
min(E, R), see `separating`.

Letters: `E` entities, `R` relations, `I` and `J` sizes of the two vectors, `O` outputs, `k` rank per output.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float, Key
from research.pooling.operator import Operator

__all__ = ["Factors", "LowRankBilinear", "bilinear_pool", "example", "scores", "separating", "truth_rank"]

#: Added inside square roots, so that they have a derivative at zero.
_TINY = 1e-12


class Factors(NamedTuple):
    """U and V; columns jk, ..., jk + k - 1 of both belong to output j."""

    left: Float[Array, "I Ok"]
    right: Float[Array, "J Ok"]


def bilinear_pool(
    e: Float[Array, "*B I"], r: Float[Array, "*B J"], params: Factors, rank: int, normalize: bool = True
) -> Float[Array, "*B O"]:
    """Pools products e_i r_j into O outputs, in at least float32.

    Args:
      rank: k >= 1, static; must divide the number of columns of both factors.
      normalize: signed square root sign(z) sqrt(|z| + 1e-12), then division by the norm; False for the bilinear map.

    Raises: ValueError for a rank, or factors, that do not fit.
    """
    checks.require(isinstance(rank, int) and rank >= 1, "rank", "be an int >= 1", rank)
    columns = np.shape(params.left)[-1]
    checks.require(columns % rank == 0, "params.left", f"have a multiple of rank = {rank} columns", columns)
    checks.shape("params.right", params.right, (None, columns))
    checks.shape("params.left", params.left, (np.shape(e)[-1], None))
    checks.shape("params.right", params.right, (np.shape(r)[-1], None))
    dtype = jnp.result_type(e, r, *params)
    wide = jnp.promote_types(dtype, jnp.float32)  # products of two large numbers leave float16
    product = (e.astype(wide) @ params.left.astype(wide)) * (r.astype(wide) @ params.right.astype(wide))
    pooled = product.reshape(*product.shape[:-1], columns // rank, rank).sum(axis=-1)
    return (_normalized(pooled) if normalize else pooled).astype(dtype)


def _normalized(z: Float[Array, "*B O"]) -> Float[Array, "*B O"]:
    root = jnp.sign(z) * jnp.sqrt(jnp.abs(z) + _TINY)
    return root / jnp.sqrt(jnp.sum(root**2, axis=-1, keepdims=True) + _TINY)


def scores(
    entities: Float[Array, "E I"], relations: Float[Array, "R J"], params: Factors, rank: int, normalize: bool = False
) -> Float[Array, "E R E"]:
    """Scores of all triples [head, relation, tail]; entities have as many entries as the operator has outputs."""
    checks.require(
        np.shape(entities)[1] * rank == np.shape(params.left)[1],
        "entities", f"have O = {np.shape(params.left)[1] / rank:g} columns", np.shape(entities),
    )  # fmt: skip
    pooled = bilinear_pool(entities[:, None], relations[None], params, rank, normalize)
    return pooled @ entities.T


def truth_rank(true: np.ndarray) -> int:
    """Largest rank of a tail's matrix [head, relation]: the least k for which scores can equal the truth of all triples
    with one-hot embeddings; at least 1, at most min(E, R)."""
    matrices = np.moveaxis(np.asarray(true, np.float64), 2, 0)
    return max(1, int(np.linalg.matrix_rank(matrices).max()))


def separating(true: np.ndarray, rank: int | None = None) -> tuple[np.ndarray, np.ndarray, Factors]:
    """Embeddings and factors whose scores are 1 on true triples and 0 on all others (theorem T17).

    Embeddings are one-hot. With k = min(E, R) the blocks are U_j = M_j, V_j = I, or the other way round: entries are 0
    and 1, and scores are exact. With a smaller k they are a factorisation of M_j by its singular vectors, exact up to
    rounding.

    Args:
      true: `[E, R, E]`, 0 or 1 for each (head, relation, tail).
      rank: k; None for min(E, R). At least `truth_rank(true)`.

    Returns:
      entities `[E, E]`, relations `[R, R]`, factors.

    Raises: ValueError for another shape or other entries, or a rank that is too small.
    """
    checks.require(np.ndim(true) == 3 and np.shape(true)[0] == np.shape(true)[2], "true", "have shape (E, R, E)",
                   np.shape(true))  # fmt: skip
    checks.binary("true", true)
    matrices = np.moveaxis(np.asarray(true, np.float64), 2, 0)  # [tail, head, relation]
    heads, relations = matrices.shape[1:]
    full = min(heads, relations)
    rank = full if rank is None else rank
    least = truth_rank(true)
    checks.require(least <= rank, "rank", f"be >= {least}, the largest rank of a tail's matrix", rank)
    if rank >= full:
        identity = np.broadcast_to(np.eye(full), (heads, full, full))
        left, right = (matrices, identity) if relations == full else (identity, matrices.transpose(0, 2, 1))
        extra = ((0, 0), (0, 0), (0, rank - full))
        left, right = np.pad(left, extra), np.pad(right, extra)
    else:
        u, s, vt = np.linalg.svd(matrices, full_matrices=False)
        left, right = (u * s[:, None])[..., :rank], vt.transpose(0, 2, 1)[..., :rank]
    factors = (block.transpose(1, 0, 2).reshape(block.shape[1], heads * rank) for block in (left, right))
    return np.eye(heads), np.eye(relations), Factors(*(jnp.asarray(factor) for factor in factors))


class LowRankBilinear(eqx.Module):
    """Learned `bilinear_pool`: a call maps e `[..., I]` and r `[..., J]` to `[..., O]`."""

    params: Factors
    rank: int = eqx.field(static=True, default=30)
    normalize: bool = eqx.field(static=True, default=True)

    @classmethod
    def create(cls, key: Key, sizes: tuple[int, int], outputs: int, rank: int = 30, normalize: bool = True):
        """Factors uniform on (-1, 1), as published; `sizes` are I and J."""
        for name, value in (("sizes[0]", sizes[0]), ("sizes[1]", sizes[1]), ("outputs", outputs), ("rank", rank)):
            checks.at_least(name, value, 1)
        keys = jax.random.split(key)
        drawn = (
            jax.random.uniform(one, (size, outputs * rank), minval=-1.0) for one, size in zip(keys, sizes, strict=True)
        )
        return cls(Factors(*drawn), rank, normalize)

    def __call__(self, e: Float[Array, "*B I"], r: Float[Array, "*B J"]) -> Float[Array, "*B O"]:
        return bilinear_pool(e, r, self.params, self.rank, self.normalize)


def example(key: Key) -> dict[str, Operator]:
    """Both forms: two vectors of three and four entries into three outputs of rank 2."""
    keys = jax.random.split(key, 3)
    inputs = (jax.random.normal(keys[0], (2, 3)), jax.random.normal(keys[1], (2, 4)))

    def operator(normalize, formula):
        module = LowRankBilinear.create(keys[2], (3, 4), 3, 2, normalize)
        return Operator(
            lambda params, x, mask: bilinear_pool(*x, params, 2, normalize), module.params, inputs, formula,
            "amin:20", "pooling/fig_bilinear", degree=1 if normalize else 2,
        )  # fmt: skip

    return {
        "low-rank bilinear": operator(False, "z_j = sum of k products (e U)_m (r V)_m"),
        "low-rank bilinear, normalised": operator(True, "sign(z) sqrt|z|, then unit length"),
    }
