"""The same predictions by other means, for the benchmark: NumPy loops, NumPy with BLAS in blocks, river.

Each returns the sum of squared residuals, so that the test of the benchmark can see that it did the work.
"""

import numpy as np

__all__ = ["blocked_blas", "plain_loop", "river_single", "vectorised"]


def plain_loop(features, labels, awake):
    """The organisation of the published program: a loop over rounds and awake groups, `theta = P b`, float64."""
    members = [np.flatnonzero(row) for row in awake]
    dim = features.shape[1]
    inverse = [np.eye(dim) for _ in range(awake.shape[1])]
    moment = [np.zeros(dim) for _ in range(awake.shape[1])]
    total = 0.0
    for x, y, groups in zip(features, labels, members, strict=True):
        for g in groups:
            total += (y - x @ (inverse[g] @ moment[g])) ** 2
        for g in groups:
            gain = inverse[g] @ x
            inverse[g] -= np.outer(gain, gain) / (1 + x @ gain)
            moment[g] += y * x
    return total


def vectorised(features, labels, awake):
    """One round at a time, all groups in one matrix-vector product; the dtype of `features`."""
    dim, num_groups = features.shape[1], awake.shape[1]
    inverse = np.tile(np.eye(dim, dtype=features.dtype), (num_groups, 1))
    blocks = inverse.reshape(num_groups, dim, dim)
    weights = np.zeros((num_groups, dim), features.dtype)
    scratch = np.empty_like(blocks)
    total = 0.0
    for x, y, mask in zip(features, labels, awake.astype(features.dtype), strict=True):
        gain = (inverse @ x).reshape(num_groups, dim)
        residual = mask * (y - weights @ x)
        total += residual @ residual
        step = gain * (mask / (1 + gain @ x))[:, None]
        weights += step * residual[:, None]
        np.multiply(step[:, :, None], gain[:, None, :], out=scratch)
        blocks -= scratch
    return total


def blocked_blas(features, labels, members, block_size):
    """The blocked algorithm of `xla.py` in BLAS and LAPACK, each group's own rows only, in place and column-major."""
    from scipy.linalg import get_blas_funcs, get_lapack_funcs

    gemm, trsm, syrk = get_blas_funcs(("gemm", "trsm", "syrk"), (features,))
    (potrf,) = get_lapack_funcs(("potrf",), (features,))
    dim = features.shape[1]
    total = 0.0
    for rows in members:
        # Columns of `state` are P and theta: one product gives the gains and the predictions.
        state = np.zeros((dim, dim + 1), features.dtype, order="F")
        np.fill_diagonal(state, 1)
        for start in range(0, len(rows), block_size):
            block = rows[start : start + block_size]
            x = features[block].T  # column-major [d, B] without a copy
            solved = gemm(1, x, state, trans_a=1)
            solved[:, dim] = labels[block] - solved[:, dim]
            gram = gemm(1, solved[:, :dim], x)
            gram.ravel(order="F")[:: len(block) + 1] += 1
            root, _ = potrf(gram, lower=1, clean=0, overwrite_a=1)
            solved = trsm(1, root, solved, lower=1, overwrite_b=1)
            residual = solved[:, dim] * root.diagonal()
            total += residual @ residual
            update = solved[:, :dim]
            state = gemm(-1, update, solved, beta=1, c=state, trans_a=1, overwrite_c=1)
            state[:, dim] += 2 * (update.T @ solved[:, dim])
    return total


def river_single(rows, labels):
    """river's Bayesian linear regression, one model that sees every row; `rows` are dicts, as its interface asks."""
    from river.linear_model import BayesianLinearRegression

    model = BayesianLinearRegression()
    total = 0.0
    for x, y in zip(rows, labels, strict=True):
        total += (y - model.predict_one(x)) ** 2
        model.learn_one(x, y)
    return total
