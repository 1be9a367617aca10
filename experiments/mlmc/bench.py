"""Leaves per second of READ on one core, against NumPy breadth-first and by recursion, and against its random numbers.

Gaussian walks with sine links throughout, one normal a node. `read_D`: no base exponents, r = .6, (.74, .6) and
(.74, .6, .54); `read_D_base`: b = 2, (1, 1) and (1, 1, 1). The peers draw from NumPy's own generator in double
precision; ours works in float32. `random numbers` is the limit: one Threefry block and one inverse normal for every
leaf, and nothing else, compiled alone. `fill` is the share of leaf lanes that hold a leaf.
The family's other rows are those of its kernel: `--only=nested_leaf`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._bench import Case, Work
from research.core import loops
from research.mlmc import links, oracles, read, walks, words

__all__ = ["cases"]

RATES = {1: (0.6,), 2: (0.74, 0.6), 3: (0.74, 0.6, 0.54)}
BASES = {1: (2,), 2: (1, 1), 3: (1, 1, 1)}
BLOCKS = {1: 8, 2: 8, 3: 2}
_BLOCK, _BLOCK_QUICK, _RECURSIONS = 16_384, 1_024, 200


def cases(tables, quick=False):
    """Yields the cases; `tables` is not used."""
    del tables
    for depth in (1,) if quick else (1, 2, 3):
        yield _case(depth, None, _BLOCK_QUICK if quick else _BLOCK)
        yield _case(depth, BASES[depth], _BLOCK_QUICK if quick else _BLOCK)


def sines(depth: int) -> walks.GaussianWalk:
    """m = s_d = 1/2, links sin(y_d + z)."""
    scales = jnp.full(depth + 1, 0.5, jnp.float32)
    functions = (links.Sine(),) * depth + (links.Identity(),)
    return walks.GaussianWalk(jnp.float32(0.5), scales, functions, (1,) * depth, (1,) * depth)


def _case(depth, base, block):
    problem = sines(depth)
    call, leaves, fill = _ours(problem, depth, base, block)
    works = {"jax": Work(call, leaves, report=lambda _: {"fill": fill}), "random numbers": _limit(leaves)}
    if base is None:
        walk = oracles.walk(problem)
        works["numpy"] = _breadth_first(walk, RATES[depth], block)
        works["recursion"] = _recursion(walk, RATES[depth])
    name = f"read_{depth}" if base is None else f"read_{depth}_base"
    return Case(name, "leaves", (block * BLOCKS[depth], depth), works, f"r {RATES[depth]}, b {base or 0}")


def _ours(problem, depth, base, block):
    params = read.Params(r=RATES[depth], b=base, block=block, num_steps=BLOCKS[depth])
    state = read.start(problem, jnp.asarray([1, 2], jnp.uint32), jnp.zeros(2, jnp.uint32), params)
    run = jax.jit(lambda state: read.run(problem, params, state=state))
    done = run(state).state
    leaves, slots = loops.total(done.leaves), loops.total(done.slots)
    return lambda: jax.block_until_ready(run(state)), leaves, leaves / slots


def _limit(number):
    tile = 4_096
    rounds = -(-number // tile)
    keys = (jnp.arange(tile, dtype=jnp.uint32), jnp.arange(tile, dtype=jnp.uint32) * jnp.uint32(7))

    @jax.jit
    def run(keys):
        def body(i, total):
            word = words.leaf_words(keys, jnp.full(tile, i, jnp.uint32), 1)[0]
            return total + words.normal(word)

        return jax.lax.fori_loop(0, rounds, body, jnp.zeros(tile, jnp.float32))

    return Work(lambda: jax.block_until_ready(run(keys)), rounds * tile)


def _breadth_first(walk, rates, block):
    def call():
        return oracles.breadth_first(walk, rates, block, np.random.default_rng(0))

    return Work(call, call()[1])


def _recursion(walk, rates):
    def call():
        generator = np.random.default_rng(0)
        return sum(oracles.recursion(walk, rates, generator)[1] for _ in range(_RECURSIONS))

    return Work(call, call(), repeats=5)
