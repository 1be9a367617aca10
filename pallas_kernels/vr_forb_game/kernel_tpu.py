"""The inner loop on a TPU: the game and the iterate stay on the chip, and an iteration is a chain of reductions.

Layout. A vector of n numbers is `[S, 128]`, whole registers, one for n <= 1024; the matrix and its transpose are
`[R, S, 128]`, so that a drawn row is picked by a leading index. Beyond n numbers a vector holds zeros, and minus
infinity where it is projected. An entry of a vector is picked by a mask and a sum.

A projection is Newton's method on the threshold (`simplex.py`): each sweep waits for two sums over the registers, and
the next one waits for it. Both players' sweeps go in step, so that one's chain hides the other's.

What limits it is latency: an iteration waits five times for sums over a register, one to pick an entry, one to start a
threshold and one for each of three sweeps, some 200 cycles each, and fills a quarter of the vector slots of 305 bundles
(on a v5e; nothing streams). The compiler's estimate (libtpu 0.0.42.1; not a measurement), cycles per iteration of three
sweeps and no coin, beside XLA's schedule of the loop of `xla.py`, some 35 operations of 600 to 1,700 cycles each:

                               v5e       v5p       v6e     tpu7x
    kernel, both sizes       1,015     1,021     1,112     1,117
    XLA, n = 512            27,867    29,618    19,447    24,379
    XLA, n = 1,024          36,019    33,864    23,473    29,428

A coin, one in n / 2, takes the two full products: the point goes to scalar memory and weighs row after row, 2 n fused
products of a register. Grid: blocks of iterations, one after the other, whose draws come to scalar memory.

Source: as `reference.py`.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES, SUBLANES
from pallas_kernels.vr_forb_game.contract import Iterate

__all__ = ["cost", "height", "stream", "unsupported", "vmem_bytes", "vr_forb_game"]

_DEFAULT_VMEM = 14 << 20  # of the 16 MiB that a kernel gets without asking on every generation
_VMEM = 24 << 20  # of 64 MiB or more on all but v4, which the arguments may take once more
_BLOCK = 512  # iterations of a grid step
_MOST_DRAWS = 8  # of an iteration
_MOST_SWEEPS = 32
_UNROLLED = 8  # rows of a full product
_LANE_BITS = LANES.bit_length() - 1  # a division of what may be negative takes several operations


def height(size):
    """Rows of 128 numbers of a vector of so many, whole registers."""
    return _blocks.round_up(-(-size // LANES), SUBLANES)


def vmem_bytes(num_rows, num_columns):
    """On-chip memory of the matrix, its transpose and the vectors."""
    tile_x, tile_y = 4 * LANES * height(num_columns), 4 * LANES * height(num_rows)
    return num_rows * tile_x + num_columns * tile_y + 20 * (tile_x + tile_y)


def unsupported(game, rates, at, draws, length):
    """Why the kernel cannot serve these arguments, in the caller's terms, or None."""
    del rates, at, length
    if game.rows.dtype != "float32":
        return f"the game is {game.rows.dtype}, the kernel computes in float32"
    if draws.rows.shape[1] > _MOST_DRAWS:
        return f"{draws.rows.shape[1]} draws in an iteration; the kernel takes {_MOST_DRAWS} at most"
    if vmem_bytes(*game.rows.shape) > _VMEM:
        return f"a game of {game.rows.shape} does not fit the chip beside its transpose"
    return None


def cost(shape, num_steps, sweeps=3):
    """Operations and bytes of one call, for the compiler's scheduler: a coin in n / 2."""
    entries = LANES * sum(map(height, shape))
    return pl.CostEstimate(
        flops=num_steps * entries * (18 + 5 * sweeps) + 4 * num_steps * entries,
        transcendentals=0,
        bytes_accessed=vmem_bytes(*shape),
    )


def vr_forb_game(game, rates, at, draws, length, *, block=_BLOCK, interpret=False):
    """Same contract as `api.vr_forb_game`; float32 only. `block` iterations make a grid step."""
    num_rows, num_columns = game.rows.shape
    num_steps, num_draws = draws.rows.shape
    block = min(block, _blocks.round_up(num_steps, SUBLANES))
    padded = _blocks.round_up(num_steps, block)
    heights = height(num_columns), height(num_rows)

    def tiles(array, rows):
        return _blocks.pad_axis(array, array.ndim - 1, rows * LANES).reshape(*array.shape[:-1], rows, LANES)

    def of_both(parts):
        return [tiles(jnp.stack(part), rows) for part, rows in zip(parts, heights, strict=True)]

    def by_block(array):
        return _blocks.pad_axis(array, 0, padded).reshape(padded // block, 1, -1)

    weights = [
        w[index] / num_draws for w, index in ((game.row_weight, draws.rows), (game.column_weight, draws.columns))
    ]
    numbers = jnp.stack([jnp.asarray(v, jnp.float32) for v in (game.scale, game.shift, *rates, *game.radii)])
    x, y = stream(
        jnp.asarray(length, jnp.int32).reshape(1),
        numbers,
        [by_block(array) for array in (draws.coins.astype(jnp.int32), draws.rows, draws.columns, *weights)],
        [tiles(game.rows, heights[0]), tiles(game.columns, heights[1])],
        of_both(zip(game.center, (game.row_cost, game.column_cost), strict=True)),
        of_both(zip(*at, strict=True)),
        sizes=(num_columns, num_rows),
        interpret=interpret,
    )
    x, y = (part.reshape(4, -1)[:, :size] for part, size in ((x, num_columns), (y, num_rows)))
    return Iterate(*((x[k], y[k]) for k in range(4)))


def stream(length, numbers, scalars, matrices, constants, states, *, sizes, sweeps=None, fixed=False, interpret=False):
    """The kernel itself, on arrays in its layout.

    Args:
      length: `[1]` int32 iterations.
      numbers: `[6]` scale, shift, tau, p and the radii.
      scalars: `[steps, 1, block]` int32 coins, then `[steps, 1, block b]` rows, columns and their weights over b.
      matrices: `[R, S_x, 128]` and `[C, S_y, 128]`.
      constants: `[2, S_x, 128]` and `[2, S_y, 128]`: centre and cost of x, and of y.
      states: `[4, S_x, 128]` and `[4, S_y, 128]`: what an iteration carries.
      sizes: (C, R).
      sweeps: of a projection, if their number is fixed to cost it; None: until they change nothing.
      fixed: every grid step makes all its iterations, whatever `length` is, and no coin counts.
      interpret: as in `pl.pallas_call`.

    Returns:
      the states after them.
    """
    steps, _, block = scalars[0].shape
    num_draws = scalars[1].shape[-1] // block

    def resident(array):
        zeros = (0,) * array.ndim
        return pl.BlockSpec(array.shape, lambda step: zeros, pipeline_mode=pl.Buffered(1))

    def of_block(array):
        return pl.BlockSpec((1, 1, array.shape[-1]), lambda step: (step, 0, 0), memory_space=pltpu.SMEM)

    everywhere = pl.BlockSpec(memory_space=pltpu.SMEM)
    needed = vmem_bytes(*sizes)
    return pl.pallas_call(
        functools.partial(_kernel, sizes=sizes, num_draws=num_draws, block=block, sweeps=sweeps, fixed=fixed),
        grid=(steps,),
        in_specs=[everywhere, everywhere, *map(of_block, scalars), *map(resident, (*matrices, *constants, *states))],
        out_specs=[pl.BlockSpec(state.shape, lambda step: (0, 0, 0)) for state in states],
        out_shape=[jax.ShapeDtypeStruct(state.shape, state.dtype) for state in states],
        scratch_shapes=[
            *(pltpu.SMEM(state.shape[1:], jnp.float32) for state in states),
            pltpu.SemaphoreType.DMA((2,)),
        ],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("arbitrary",),
            vmem_limit_bytes=None if needed <= _DEFAULT_VMEM else needed + (8 << 20),
        ),
        cost_estimate=cost(sizes, steps * block),
        interpret=interpret,
        name="vr_forb_game",
    )(length, numbers, *scalars, *matrices, *constants, *states)


_POINT, _SNAPSHOT, _LAGGED, _OPERATOR = range(4)


def _kernel(
    length, numbers, coins, row_index, column_index, row_weight, column_weight, rows, columns, fixed_x, fixed_y,
    given_x, given_y, x, y, scalar_x, scalar_y, semaphores, *, sizes, num_draws, block, sweeps, fixed,
):  # fmt: skip
    step = pl.program_id(0)
    scale, shift, tau, p, *radii = (numbers[k] for k in range(6))
    places = [_places(part.shape[1:]) for part in (x, y)]
    inside = [place < size for place, size in zip(places, sizes, strict=True)]

    @pl.when(step == 0)
    def _():
        x[...] = given_x[...]
        y[...] = given_y[...]

    def pull(matrix, index, weight, here, moved, k, sign):
        total = 0.0
        for b in range(num_draws):
            i = index[0, 0, k * num_draws + b]
            entry = jnp.sum(jnp.where(here == i, moved, 0), keepdims=True)
            total = total + matrix[i] * (sign * weight[0, 0, k * num_draws + b] * entry)
        return total

    def iterate(k, _):
        moved_x, moved_y = (part[_POINT] - part[_LAGGED] for part in (x, y))
        change = (
            pull(rows, row_index, row_weight, places[1], moved_y, k, 1.0),
            pull(columns, column_index, column_weight, places[0], moved_x, k, -1.0),
        )
        v = [
            (1 - p) * part[_POINT] + p * part[_SNAPSHOT] - tau * (part[_OPERATOR] + (shift * moved + scale * pulled))
            for part, moved, pulled in zip((x, y), (moved_x, moved_y), change, strict=True)
        ]
        points = _project(v, inside, sizes, radii, sweeps)
        for part, point in zip((x, y), points, strict=True):
            part[_LAGGED] = part[_SNAPSHOT]
            part[_POINT] = point

        def renew():
            copies = [
                pltpu.make_async_copy(part.at[_POINT], target, semaphores.at[k])
                for k, (part, target) in enumerate(((x, scalar_x), (y, scalar_y)))
            ]
            for copy in copies:
                copy.start()
            for copy in copies:
                copy.wait()
            in_x = _weighed(scalar_y, rows, x.shape[1:]) + fixed_x[1]
            in_y = -_weighed(scalar_x, columns, y.shape[1:]) - fixed_y[1]
            for part, fixed, value in ((x, fixed_x, in_x), (y, fixed_y, in_y)):
                part[_SNAPSHOT] = part[_POINT]
                part[_OPERATOR] = scale * value + shift * (part[_POINT] - fixed[0])

        if not fixed:
            pl.when(coins[0, 0, k] != 0)(renew)
        return 0

    jax.lax.fori_loop(0, block if fixed else jnp.clip(length[0] - step * block, 0, block), iterate, 0)


def _places(shape):
    """The position of every entry in its vector."""
    row, lane = (jax.lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (0, 1))
    return row * LANES + lane


def _weighed(weights, matrix, shape):
    """sum_r weights[r] matrix[r], weights in scalar memory."""

    def add(first, totals):
        return tuple(
            total + weights[(first + k) >> _LANE_BITS, (first + k) & (LANES - 1)] * matrix[first + k]
            for k, total in enumerate(totals)
        )

    count = matrix.shape[0]
    whole = count // _UNROLLED
    totals = (jnp.zeros(shape, jnp.float32),) * _UNROLLED
    totals = jax.lax.fori_loop(0, whole, lambda r, totals: add(r * _UNROLLED, totals), totals)
    totals = add(whole * _UNROLLED, totals[: count % _UNROLLED]) + totals[count % _UNROLLED :]
    return sum(totals[1:], start=totals[0])


def _project(v, inside, sizes, radii, sweeps):
    """Both players' projections, sweep by sweep; thresholds and counts are `[1, 1]`."""
    starts = [
        (jnp.sum(jnp.where(here, w, 0), keepdims=True) - radius) / size
        for w, here, size, radius in zip(v, inside, sizes, radii, strict=True)
    ]
    v = [jnp.where(here, w, -jnp.inf) for w, here in zip(v, inside, strict=True)]

    def sweep(w, threshold, radius):
        above = jnp.sum((w > threshold).astype(jnp.float32), keepdims=True)
        excess = jnp.sum(jnp.maximum(w - threshold, 0), keepdims=True) - radius
        return threshold + excess / jnp.maximum(above, 1), above

    if sweeps is not None:
        for _ in range(sweeps):
            starts = [sweep(*args)[0] for args in zip(v, starts, radii, strict=True)]
        return [jnp.maximum(w - threshold, 0) for w, threshold in zip(v, starts, strict=True)]

    def again(carry):
        return carry[-1] & (carry[-2] < _MOST_SWEEPS)

    def both(carry):
        thresholds, counts, done, _ = carry
        swept = [sweep(*args) for args in zip(v, thresholds, radii, strict=True)]
        fewer = [jnp.max(above) < jnp.max(count) for (_, above), count in zip(swept, counts, strict=True)]
        return [t for t, _ in swept], [above for _, above in swept], done + 1, fewer[0] | fewer[1]

    counts = [jnp.full((1, 1), float(size), jnp.float32) for size in sizes]
    thresholds, *_ = jax.lax.while_loop(again, both, (starts, counts, jnp.int32(0), jnp.bool(True)))
    return [jnp.maximum(w - threshold, 0) for w, threshold in zip(v, thresholds, strict=True)]
