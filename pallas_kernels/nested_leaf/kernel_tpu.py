"""Sums over children on a TPU: a node, or a piece of one, in each lane, its key, state and sums in registers.

Arithmetic intensity. A child is one encryption, 112 operations on integers, and some 40 more for a normal, a leaf and a
sum; a lane moves 28 bytes however many children it has. From two children a lane on the vector unit is the wall: four
operations on 1,024 lanes a cycle, so 37.5 cycles at best for 1,024 children of 150 operations. The compiler's estimate
(libtpu 0.0.42.1; not a measurement), cycles per 1,024 children of lanes that have 64 each, beside XLA's schedule of the
loop of `xla.py` over one tile, and the kernel's share of that limit:

              v5e      v5p      v6e    tpu7x
    kernel   41.5     41.1     40.3     39.9
    XLA       276      335      162      190
    share    0.90     0.91     0.93     0.94

An encryption is one chain of some eighty operations, so many children go side by side: `_CHAINS` of them, up to four
registers of lanes in both halves. With 8 instead a v5e takes 51 cycles, with 4, 61. Families of two leave 8, and take
73, loading and storing included.

Layout. A tile is `[h, 128]` lanes, whole registers, all with as many children; the number comes from scalar memory, and
so do the constants. No gather, no scatter, and no value of a child leaves the registers. Source: as `reference.py`.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels._blocks import LANES, SUBLANES
from pallas_kernels.nested_leaf.variates import variates

__all__ = ["REGISTER", "cost", "nested_leaf", "stream", "unsupported"]

#: Lanes of one vector register, of which a tile is a multiple.
REGISTER = SUBLANES * LANES
#: Children worked on at once, registers times halves times children of a half: enough chains to hide each other.
_CHAINS = 16
_MOST_REGISTERS = 4
_VMEM_BUDGET = 14 << 20  # of the 16 MiB a kernel gets without asking on every TPU generation


def unsupported(words, first, count, state, constants, *, leaf, kinds):
    """Why the kernel cannot serve these arguments, in the caller's terms, or None."""
    del first
    width = words.shape[1] // count.shape[0]
    if width % REGISTER:
        return f"tiles of {width} lanes are not a multiple of {REGISTER}"
    if state.dtype != jnp.float32:
        return f"state is {state.dtype}, the kernel computes in float32"
    block = jax.ShapeDtypeStruct((SUBLANES, LANES), jnp.float32)
    numbers = (jax.ShapeDtypeStruct((), jnp.float32),) * constants.shape[0]
    traced = jax.make_jaxpr(leaf)(numbers, (block,) * state.shape[0], (block,) * len(kinds))
    if traced.consts:
        return f"leaf holds {len(traced.consts)} arrays of its own; they must be among the constants"
    odd = next((shape for shape in _shapes(traced.jaxpr) if shape not in ((), block.shape)), None)
    if odd is not None:
        return f"leaf is not elementwise: it makes an array of shape {odd} from lanes of shape {block.shape}"
    rows = 4 + state.shape[0] + 2 * len(traced.out_avals)
    if 2 * 4 * rows * width > _VMEM_BUDGET:
        return f"a tile of {width} lanes with {rows} rows does not fit the chip"
    return None


def _shapes(jaxpr):
    """Of every array that a jaxpr makes, those inside its calls included."""
    for equation in jaxpr.eqns:
        yield from (tuple(out.aval.shape) for out in equation.outvars)
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "jaxpr") or hasattr(x, "eqns")):
            if hasattr(inner, "jaxpr") or hasattr(inner, "eqns"):
                yield from _shapes(getattr(inner, "jaxpr", inner))


def cost(lanes, rows, most, num_variates):
    """Operations and bytes of one call, for the compiler's scheduler: every tile with the most children."""
    blocks = -(-num_variates // 2)
    return pl.CostEstimate(
        flops=lanes * most * (120 * blocks + 36 * num_variates),
        transcendentals=2 * lanes * most * num_variates,
        bytes_accessed=4 * lanes * rows,
    )


def nested_leaf(words, first, count, state, constants, *, leaf, kinds, tag, most, interpret=False):
    """Same contract as `api.nested_leaf`; tiles of whole registers."""
    tiles, lanes = count.shape[0], words.shape[1]

    def by_tile(rows):
        return jnp.swapaxes(rows.reshape(rows.shape[0], tiles, -1, LANES), 0, 1)

    if constants.shape[0] == 0:
        inner, constants = leaf, jnp.zeros(1, jnp.float32)
        leaf = lambda _, here, u: inner((), here, u)  # noqa: E731
    sums = stream(
        count, by_tile(words), by_tile(first), by_tile(state), constants,
        leaf=leaf, kinds=kinds, tag=tag, most=most, interpret=interpret,
    )  # fmt: skip
    return jnp.swapaxes(sums.reshape(tiles, 2, -1, lanes // tiles), 0, 2).swapaxes(0, 1).reshape(2, -1, lanes)


def stream(count, words, first, state, constants, *, leaf, kinds, tag, most, fixed=None, interpret=False):
    """The kernel itself, on rows that are laid out by tile, `T` tiles of h x 128 lanes, h a multiple of 8.

    Args:
      count: `[T]` int32.
      words, first: `[T, 2, h, 128]` uint32.
      state: `[T, S, h, 128]` float32.
      constants: `[K]` float32, K >= 1.
      fixed: a count for all tiles that is known at compile time, to cost the kernel.

    Returns:
      `[T, 2 Z, h, 128]`, the first halves' sums first.
    """
    tiles, size, height, _ = state.shape
    block = jax.ShapeDtypeStruct((SUBLANES, LANES), jnp.float32)
    numbers = (jax.ShapeDtypeStruct((), jnp.float32),) * constants.shape[0]
    num_values = len(jax.eval_shape(leaf, numbers, (block,) * size, (block,) * len(kinds)))

    def rows(number):
        return pl.BlockSpec((1, number, height, LANES), lambda tile: (tile, 0, 0, 0))

    return pl.pallas_call(
        functools.partial(_kernel, leaf=leaf, kinds=kinds, tag=tag, fixed=fixed),
        grid=(tiles,),
        in_specs=[
            pl.BlockSpec(memory_space=pltpu.SMEM),
            rows(2),
            rows(2),
            rows(size),
            pl.BlockSpec(memory_space=pltpu.SMEM),
        ],
        out_specs=rows(2 * num_values),
        out_shape=jax.ShapeDtypeStruct((tiles, 2 * num_values, height, LANES), jnp.float32),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",)),
        cost_estimate=cost(tiles * height * LANES, 4 + size + 2 * num_values, most, len(kinds)),
        interpret=interpret,
        name="nested_leaf",
    )(count, words, first, state, constants)


def _quotient(number, divisor):
    """Of a count, which is not negative: what `//` does about signs is lowered only where a chip is at hand."""
    return number // divisor if isinstance(number, int) else jax.lax.div(number, jnp.int32(divisor))


def _kernel(counts, words, first, state, constants, sums, *, leaf, kinds, tag, fixed):
    height, num_values = words.shape[2], sums.shape[1] // 2
    shared = tuple(constants[k] for k in range(constants.shape[0]))
    count = counts[pl.program_id(0)] if fixed is None else fixed
    registers = next(n for n in range(_MOST_REGISTERS, 0, -1) if height % (n * SUBLANES) == 0)
    size, together = registers * SUBLANES, _CHAINS // (2 * registers)
    pairs = _quotient(count, 2)
    rounds = _quotient(pairs, together)

    @pl.loop(0, height // size)
    def _(group):
        at = pl.ds(pl.multiple_of(group * size, SUBLANES), size)
        key = words[0, 0, at], words[0, 1, at]
        origin = first[0, 0, at], first[0, 1, at]
        here = tuple(state[0, s, at] for s in range(state.shape[1]))

        def add(many, halves, k, found):
            which = [(half, i) for i in range(many) for half in halves]
            child = jnp.stack([origin[half] + jnp.asarray(many * k + i, jnp.uint32) for half, i in which])
            spread = functools.partial(jnp.broadcast_to, shape=child.shape)
            drawn = variates(tuple(map(spread, key)), child, kinds, tag)
            found = list(found)
            for z, values in enumerate(leaf(shared, tuple(map(spread, here)), drawn)):
                for (half, _), value in zip(which, values, strict=True):
                    found[half * num_values + z] += value
            return tuple(found)

        found = (jnp.zeros((size, LANES), jnp.float32),) * (2 * num_values)
        for many, halves, begin, end in (
            (together, (0, 1), 0, rounds),
            (1, (0, 1), rounds * together, pairs),
            (1, (0,), pairs, count - pairs),
        ):
            # The compiler's simulator has no cycles for a kernel with a loop of no rounds.
            if fixed is None or begin < end:
                found = jax.lax.fori_loop(begin, end, functools.partial(add, many, halves), found)
        for row, value in enumerate(found):
            sums[0, row, at] = value
