"""Coins, supplied draws and step limits of the methods that draw one component at a time."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.halpern import monitoring, sampling
from research.halpern.inclusions import Inclusion


def probability(num_components: int, batch: int = 1) -> float:
    """min(1/2, 2 b / n): a full operator costs about as much as the draws between two of them."""
    return min(0.5, 2 * batch / num_components)


def coins(key: Key, step: Int[Array, ""], stride: int, p: Float[Array, ""]) -> Bool[Array, " stride"]:
    """The coins of one stride: a function of key and step alone, so that lanes with one key share them."""
    return monitoring.draw_stride(lambda key, count: sampling.bernoulli(key, p, (count,)), key, step, stride)


def indices(inclusion: Inclusion, key: Key, step: Int[Array, ""], stride: int, batch: int) -> Int[Array, "stride b I"]:
    """The components of one stride."""
    return monitoring.draw_stride(lambda key, count: inclusion.sample(key, (count, batch)), key, step, stride)


def check_constants(inclusion: Inclusion) -> None:
    """n >= 1 and 0 < L_F, 0 < L, finite."""
    checks.at_least("num_components", inclusion.num_components, 1)
    checks.positive("lipschitz", inclusion.lipschitz)
    checks.positive("lipschitz_full", inclusion.lipschitz_full)


def check_calls(most: int, stride: int) -> None:
    """A stride costs at most 2**30 calls, what the counters take at once; `most`: of one iteration."""
    allowed = f"be <= {max(1, 2**30 // most)}, since a stride's calls are counted at once"
    checks.require(stride * most <= 2**30, "Params.stride", allowed, stride)


def check_open(name: str, value: Any) -> None:
    """Every entry lies strictly between 0 and 1; None passes."""
    if value is not None and checks.is_concrete(value):
        known = np.asarray(value)  # on the host, since params are made inside traced functions too
        checks.require(bool(((known > 0) & (known < 1)).all()), name, "lie in (0, 1)", value)


def check_rates(step_size: Any, safety: Any, p: Any, unsafe: bool) -> None:
    """The fields `step_size`, `safety` and `probability` of a method's params, as far as they stand alone."""
    if step_size is not None:
        checks.positive("Params.step_size", step_size)
    checks.positive("Params.safety", safety)
    if not unsafe:
        check_open("Params.safety", safety)
    check_open("Params.probability", p)


def check_below(step_size: Any, limit: Any, unsafe: bool, *, strictly: bool = True) -> None:
    """A step is below its certified limit, unless the caller takes the risk; a rounding's breadth is allowed for."""
    if unsafe or not checks.is_concrete(step_size, limit):
        return
    tolerance = 4 * float(jnp.finfo(jnp.asarray(limit).dtype).eps)
    within = float(step_size) < float(limit) if strictly else float(step_size) <= float(limit) * (1 + tolerance)
    allowed = f"be {'<' if strictly else '<='} {float(limit):.6g}, the certified limit, unless unsafe=True"
    checks.require(within, "Params.step_size", allowed, float(step_size))


def check_supplied(inclusion: Inclusion, batch: int, coins: Any, indices: Any) -> tuple[Array, Array]:
    """Coins `[*K]` of 0 and 1 as booleans, and indices `[*K, b, I]` in range, as int32."""
    coins, indices = jnp.asarray(coins), jnp.asarray(indices)
    checks.binary("coins", coins)
    checks.shape("indices", indices, (*coins.shape, batch, inclusion.num_indices))
    for position, limit in enumerate(inclusion.index_limits):
        checks.in_range("indices", indices[..., position], 0, limit - 1)
    return coins.astype(bool), indices.astype(jnp.int32)
