"""Rounds per second of the blocked path against its peers, on the two workloads of the groupwise-regret paper.

`xla` is asked for a masked table (`T` slots for each group), for compacted rows (compaction and the way back inside
the timed call), and for packed rows (compacted beforehand, the result left packed): NumPy's blocked form is given its
lists of rows beforehand too and returns only a sum, so `packed` is the mode that compares like with like.
Flops: executed = the products of the blocked algorithm, `4 d^2 + 2 B d + B (B + d)` per row and group; useful = `4
d^2`, what the recursion needs (a matrix-vector product and a rank-one update).
"""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels import _blocks
from pallas_kernels._bench import Case, Work
from pallas_kernels.prequential_ridge import compact, peers, prequential_ridge

__all__ = ["cases", "stand_in"]

# Shares of the rounds in which each group is awake, for tables of the same shape where the real one is not at hand.
_SHAPES = {
    "synthetic": (100_000, 25, (0.49857, 0.30044, 0.20099, 0.59985, 0.40015, 1)),
    "adult": (48_842, 96, (0.458, 0.342, 0.201, 0.454, 0.546, 0.668, 0.332, 0.855, 0.031, 0.0096, 0.0083, 0.096, 1)),
}
PEER_BLOCKS = (32, 64, 96)


def stand_in(name):
    """Features `[T, d]`, labels `[T]`, awake `[T, G]` of the workload's shape, uniform and independent."""
    num_rounds, dim, shares = _SHAPES[name]
    rng = np.random.default_rng(0)
    awake = rng.random((num_rounds, len(shares))) < np.asarray(shares)
    return rng.uniform(0, 1, (num_rounds, dim)), rng.uniform(0, 1, num_rounds), awake


def cases(tables, quick=False):
    """Yields the cases.

    Args:
      tables: workload name -> `(features, labels, awake)`; a missing one is replaced by its stand-in.
      quick: a twentieth of the rounds.
    """
    for name in _SHAPES:
        features, labels, awake = tables.get(name) or stand_in(name)
        rounds = len(labels) // 20 if quick else len(labels)
        note = ("real table" if name in tables else "stand-in of the same shape") + (", a twentieth" if quick else "")
        yield _case(name, note, features[:rounds], labels[:rounds], awake[:rounds] > 0)


def _case(name, note, features, labels, awake):
    rounds, dim = features.shape
    groups = awake.shape[1]
    single = features.astype(np.float32), labels.astype(np.float32)
    few, some = min(rounds, 300), min(rounds, 2000)
    works = {
        "numpy loop": Work(lambda: peers.plain_loop(features[:few], labels[:few], awake[:few]), few, dtype="float64"),
        "numpy vectorised": Work(lambda: peers.vectorised(*(v[:few] for v in single), awake[:few]), few),
        "lax.scan": Work(_jax_call(*(v[:some] for v in single), awake[:some], impl="reference"), some),
    }
    rows_of = [np.flatnonzero(a) for a in awake.T]
    for block in PEER_BLOCKS:
        call = functools.partial(peers.blocked_blas, *single, rows_of, block)
        works[f"numpy blocked {block}"] = Work(call, rounds, *_flops(awake.sum(), dim, block))
    for kind, table in (("float32", single), ("float64", (features, labels))):
        block = _blocks.tuned("prequential_ridge", "cpu", kind, dim).rows
        for mode, pairs in (("masked", rounds * groups), ("compacted", awake.sum()), ("packed", awake.sum())):
            executed = _flops(pairs, dim, block)[0], _flops(awake.sum(), dim, block)[1]
            call = _jax_call(*table, awake, mode=mode)
            works[f"xla {mode} {kind}"] = Work(call, rounds, *executed, dtype=kind)
    if importlib.util.find_spec("river") is not None:
        dicts, targets = [dict(enumerate(map(float, x))) for x in features[:few]], labels[:few].tolist()
        works["river, 1 group"] = Work(lambda: peers.river_single(dicts, targets), few, dtype="float64")
    return Case(f"prequential_ridge {name}", "rounds", (rounds, dim, groups), works, note)


def _flops(pairs, dim, block):
    return float(pairs * (4 * dim**2 + 2 * block * dim + block * (block + dim))), float(pairs * 4 * dim**2)


def _jax_call(features, labels, awake, *, impl=None, mode="masked"):
    num_rounds, dim = features.shape
    groups = awake.shape[1]

    @jax.jit
    def run(features, labels, rows):
        if mode == "compacted":
            rows, slot = compact(rows)
        start = jnp.broadcast_to(jnp.eye(dim, dtype=features.dtype), (groups, dim, dim))
        zero = jnp.zeros((groups, dim), features.dtype)
        out = prequential_ridge(features, labels, rows, factor=start, weights=zero, impl=impl)
        return jnp.take_along_axis(out.residual, slot, axis=1) if mode == "compacted" else out.residual

    with jax.enable_x64(features.dtype == np.float64):
        table = jnp.asarray(features), jnp.asarray(labels)
        rows = jnp.asarray(np.where(awake, np.arange(num_rounds)[:, None], -1).T, jnp.int32)
        if mode == "packed":
            rows, _ = compact(rows)

    def call():
        with jax.enable_x64(features.dtype == np.float64):
            return jax.block_until_ready(run(*table, rows))

    return call
