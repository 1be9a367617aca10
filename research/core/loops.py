"""Loops over steps: a scan that continues from any state, a masked loop that stops each lane by itself, a counter.

An algorithm's `step(problem, params, state) -> (state, info)` is the only thing that is written by hand; the loops here
give it its `run`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from research.core.types import Array, Bool, Float, Int

__all__ = [
    "Counter", "add", "approximate", "count", "scan_steps", "start_counter", "total", "two_sum", "while_active",
]  # fmt: skip

_LOW_BITS = 30


def scan_steps(step: Callable, problem: Any, params: Any, state: Any, num_steps: int) -> tuple[Any, Any]:
    """Runs `num_steps` steps from `state`.

    Two scans of n steps, the second from the first one's state, do what one scan of 2n does: the state holds all that
    a step depends on (its own index included), and the loop adds nothing.

    Returns:
      the last state, and the infos stacked on a leading axis `[num_steps, ...]`.
    """
    return jax.lax.scan(lambda carry, _: step(problem, params, carry), state, length=num_steps)


def while_active(
    step: Callable[[Any], Any], active: Callable[[Any], Bool[Array, ""]], state: Any, max_steps: int
) -> tuple[Any, Int[Array, ""]]:
    """Steps while `active(state)`, at most `max_steps` times; a lane that has stopped is frozen, bit for bit.

    Under `vmap` the loop lasts as long as the slowest lane, and the body is evaluated for all of them. The mask keeps a
    finished lane's state as it was, so that its result does not depend on its neighbours.

    Returns:
      the state, and how many steps this lane took (int32).
    """
    if max_steps < 0:
        raise ValueError(f"max_steps must be >= 0, got {max_steps}.")

    def going(carry):
        return jnp.logical_and(carry[1] < max_steps, active(carry[0]))

    def body(carry):
        keep = going(carry)
        new = step(carry[0])
        held = jax.tree.map(lambda new_leaf, old_leaf: jnp.where(keep, new_leaf, old_leaf), new, carry[0])
        return held, carry[1] + keep.astype(jnp.int32)

    return jax.lax.while_loop(going, body, (state, jnp.int32(0)))


class Counter(NamedTuple):
    """A count in two int32 words, exact to 2**61 without 64-bit integers."""

    high: Int[Array, "..."]  # in units of 2**30
    low: Int[Array, "..."]  # in [0, 2**30)


def start_counter(shape: tuple[int, ...] = ()) -> Counter:
    """A counter, or an array of them, at zero."""
    return Counter(jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.int32))


def count(counter: Counter, increment: int | Int[Array, "..."]) -> Counter:
    """Adds `increment`, in [0, 2**30]; several larger ones are added in turn."""
    low = counter.low + jnp.asarray(increment, jnp.int32)  # at most 2**31 - 1: both terms are below or at 2**30
    return Counter(counter.high + (low >> _LOW_BITS), low & ((1 << _LOW_BITS) - 1))


def add(a: Counter, b: Counter) -> Counter:
    """The sum of two counters."""
    low = count(a, b.low)
    return Counter(low.high + b.high, low.low)


def approximate(counter: Counter, dtype: Any) -> Float[Array, "..."]:
    """The count as a floating number, inside a program; exact while it has no more digits than the dtype."""
    return counter.high.astype(dtype) * 2.0**_LOW_BITS + counter.low.astype(dtype)


def two_sum(a: Float[Array, "..."], b: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """a + b and what rounding has taken from it, exactly: long sums keep their digits if the second parts are summed
    too. Source: `knuth:97`, section 4.2.2.
    """
    whole = a + b
    shadow = whole - a
    return whole, (a - (whole - shadow)) + (b - shadow)


def total(counter: Counter) -> Any:
    """The exact count, on the host: a Python int, or an int64 array for an array of counters."""
    high, low = (jax.device_get(word).astype("int64") for word in counter)
    value = (high << _LOW_BITS) + low
    return int(value) if value.ndim == 0 else value
