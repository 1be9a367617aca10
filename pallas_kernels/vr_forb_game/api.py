"""The inner loop of variance-reduced forward-reflected-backward on a matrix game: the public function."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from pallas_kernels._dispatch import Candidate, choose
from pallas_kernels._dispatch import explain as _explain
from pallas_kernels.vr_forb_game import kernel_tpu, reference, xla
from pallas_kernels.vr_forb_game.contract import Draws, Game, Iterate, Rates

__all__ = ["vr_forb_game"]

_NAME = "vr_forb_game"
Impl = Literal["xla", "pallas_tpu", "pallas_interpret", "reference"]


def vr_forb_game(
    game: Game, rates: Rates, at: Iterate, draws: Draws, length: int | jax.Array, *, impl: Impl | None = None
) -> Iterate:
    """The first `length` <= K iterations with these draws, for both players on a simplex.

    With v the point, w the snapshot, w' the lagged one and H_i the operator of a draw, over its probability,

        v <- projection of (1 - p) v + p w - tau (H(w) + mean of H_i(v) - H_i(w')),  w' <- w,  w <- v by the coin.

    Args:
      game: of `R` rows and `C` columns, float32 or float64; all arrays are of one dtype.
      rates: tau and p.
      at: where to start.
      draws: of `K` iterations; rows and columns that are out of range are not checked.
      length: in [0, K], may be traced.
      impl: None for the best implementation on each platform, or one by name, which never falls back.

    Returns:
      the iterate after them; implementations differ by rounding.

    Not differentiable by the kernel. Under `vmap` the kernel runs one lane after the other, and the others keep the
    full product behind a branch where coins are not batched.

    Raises:
      ValueError: shapes or dtypes do not fit, or unknown impl.
      NotImplementedError: the named impl cannot serve these arguments; the message says why.

    Source: `alacaoglu:21`.
    """
    _check(game, rates, at, draws)
    args = game, rates, at, draws, jnp.asarray(length, jnp.int32)
    return choose(_NAME, impl, _CANDIDATES, *args)(*args)


def _sequential(interpret):
    return jax.custom_batching.sequential_vmap(functools.partial(kernel_tpu.vr_forb_game, interpret=interpret))


_CANDIDATES = {
    "pallas_tpu": Candidate({"tpu": _sequential(False)}, kernel_tpu.unsupported),
    "xla": Candidate({"default": xla.vr_forb_game}),
    "pallas_interpret": Candidate({"default": _sequential(True)}, kernel_tpu.unsupported, automatic=False),
    "reference": Candidate({"default": reference.vr_forb_game}, automatic=False),
}


def _check(game, rates, at, draws):
    if game.rows.ndim != 2 or game.rows.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"game.rows must be float32 or float64 with 2 axes, got {game.rows.dtype} {game.rows.shape}.")
    num_rows, num_columns = game.rows.shape
    expected = {
        "columns": (num_columns, num_rows), "row_cost": (num_columns,), "column_cost": (num_rows,),
        "row_weight": (num_rows,), "column_weight": (num_columns,), "scale": (), "shift": (),
    }  # fmt: skip
    found = {f"game.{name}": (getattr(game, name), shape) for name, shape in expected.items()}
    found |= {f"game.radii[{k}]": (radius, ()) for k, radius in enumerate(game.radii)}
    points = {"game.center": game.center} | {f"at.{name}": getattr(at, name) for name in at._fields}
    for name, point in points.items():
        found |= {
            f"{name}[{k}]": (part, (size,))
            for k, (part, size) in enumerate(zip(point, (num_columns, num_rows), strict=True))
        }
    for name, (array, shape) in found.items():
        if jnp.shape(array) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {jnp.shape(array)}.")
        if jnp.result_type(array) != game.rows.dtype:
            raise ValueError(f"{name} must be {game.rows.dtype}, as the matrix, got {jnp.result_type(array)}.")
    num_steps = draws.coins.shape[0]
    if draws.coins.dtype != bool or num_steps < 1:
        raise ValueError(f"draws.coins must be bool [K], K >= 1, got {draws.coins.dtype} {draws.coins.shape}.")
    if draws.rows.ndim != 2 or draws.rows.shape != draws.columns.shape or draws.rows.shape[0] != num_steps:
        raise ValueError(
            f"draws.rows and draws.columns must be ({num_steps}, b), got {draws.rows.shape} and {draws.columns.shape}."
        )


def explain(platform: str) -> dict[str, str | None]:
    """Implementation -> None if `impl=None` takes it on the platform, else why not; 512 x 512, 128 iterations."""
    return _explain(_CANDIDATES, platform, *abstract(512, 512, 128))


def abstract(num_rows, num_columns, num_steps, num_draws=1):
    """Arguments as `jax.ShapeDtypeStruct` trees."""

    def array(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype)

    point = array(num_columns), array(num_rows)
    game = Game(
        array(num_rows, num_columns),
        array(num_columns, num_rows),
        *point,
        *reversed(point),
        point,
        array(),
        array(),
        (array(), array()),
    )
    index = array(num_steps, num_draws, dtype=jnp.int32)
    draws = Draws(array(num_steps, dtype=jnp.bool_), index, index)
    return game, Rates(array(), array()), Iterate(point, point, point, point), draws, array(dtype=jnp.int32)
