"""Argument errors with one wording: the argument's name, what is allowed, the value.

Every check raises ValueError "NAME must ..., got VALUE." on concrete values and passes tracers by, so that a checked
function can also be called under `jit`, where only shapes are known. `checked` brings the same tests into compiled code
for those who ask for it.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

__all__ = [
    "at_least", "binary", "checked", "finite", "in_range", "interval", "is_concrete", "one_of", "positive",
    "probability_vector", "require", "same_length", "shape", "steps_left",
]  # fmt: skip


def is_concrete(*values: Any) -> bool:
    """Whether no leaf of the values is a tracer."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))


def require(condition: bool, name: str, allowed: str, value: Any) -> None:
    """Raises ValueError(f"{name} must {allowed}, got {value}.") unless the condition holds."""
    if not condition:
        raise ValueError(f"{name} must {allowed}, got {value}.")


def _offender(array: np.ndarray, bad: np.ndarray) -> str:
    """The first bad entry with its index, and how many more there are."""
    index = tuple(int(i) for i in np.argwhere(bad)[0])
    value = array[index] if index else array[()]
    at = f" at index {index if len(index) > 1 else index[0]}" if index else ""
    more = f" ({int(bad.sum())} such entries)" if bad.sum() > 1 else ""
    return f"{value!s}{at}{more}"


def _entries(name: str, x: Any, is_allowed: Callable[[np.ndarray], np.ndarray], allowed: str) -> None:
    if not is_concrete(x):
        return
    array = np.asarray(x)
    bad = ~is_allowed(array)
    if bad.any():
        raise ValueError(f"{name} must {allowed}, got {_offender(array, bad)}.")


def finite(name: str, x: Any) -> None:
    """Every entry is finite."""
    _entries(name, x, np.isfinite, "be finite")


def in_range(name: str, x: Any, low: float, high: float) -> None:
    """Every entry lies in [low, high] (NaN does not)."""
    _entries(name, x, lambda a: (a >= low) & (a <= high), f"lie in [{low:g}, {high:g}]")


def positive(name: str, x: Any) -> None:
    """Every entry is > 0 and finite."""
    _entries(name, x, lambda a: (a > 0) & np.isfinite(a), "be positive and finite")


def binary(name: str, x: Any) -> None:
    """Every entry is 0 or 1."""
    _entries(name, x, lambda a: (a == 0) | (a == 1), "be 0 or 1")


def at_least(name: str, value: Any, minimum: float) -> None:
    """A number is >= minimum."""
    _entries(name, value, lambda a: a >= minimum, f"be >= {minimum:g}")


def one_of(name: str, value: Any, choices: Sequence[Any]) -> None:
    """A value is one of the choices."""
    require(value in choices, name, f"be one of {', '.join(map(repr, choices))}", repr(value))


def interval(name: str, value: tuple[float, float]) -> None:
    """A pair (low, high) of finite numbers with low < high."""
    allowed = "be a pair (low, high) of finite numbers with low < high"
    require(isinstance(value, Sequence) and len(value) == 2, name, allowed, repr(value))
    if is_concrete(*value):
        low, high = map(float, value)
        require(np.isfinite([low, high]).all() and low < high, name, allowed, (low, high))


def probability_vector(name: str, x: Any, tolerance: float = 1e-6) -> None:
    """Entries along the last axis are positive and sum to 1 within `tolerance`."""
    positive(name, x)
    if is_concrete(x):
        sums = np.asarray(x, np.float64).sum(axis=-1)
        bad = np.abs(sums - 1) > tolerance
        require(
            not bad.any(), name, f"sum to 1 (within {tolerance:g})", f"sum {_offender(sums, bad) if bad.any() else ''}"
        )


def shape(name: str, x: Any, expected: Sequence[int | None]) -> None:
    """The shape equals `expected`, where None stands for any length."""
    actual = tuple(np.shape(x))
    fits = len(actual) == len(expected) and all(e is None or a == e for a, e in zip(actual, expected, strict=True))
    wanted = ", ".join("any" if e is None else str(e) for e in expected)
    require(fits, name, f"have shape ({wanted})", actual)


def same_length(**arrays: Any) -> None:
    """All leading axes are equally long."""
    lengths = {name: np.shape(x)[0] for name, x in arrays.items()}
    require(len(set(lengths.values())) <= 1, ", ".join(arrays), "have equal lengths", lengths)


def steps_left(num_steps: int, available: int, step: Any, note: str) -> None:
    """`num_steps` more steps from `step` stay within the `available` ones; `note` may name {available} and {done}."""
    if is_concrete(step):
        done = int(step)
        allowed = f"be <= {available - done}{note.format(available=available, done=done)}"
        require(num_steps <= available - done, "Params.num_steps", allowed, num_steps)


def checked(function: Callable) -> Callable:
    """The function compiled with JAX's own checks for NaN, division by zero and out-of-bounds indices.

    Opt-in, since it costs a device round trip per call: raises `jax.experimental.checkify.JaxRuntimeError`.
    """
    from jax.experimental import checkify

    compiled = jax.jit(checkify.checkify(function, errors=checkify.float_checks | checkify.index_checks))

    @functools.wraps(function)
    def call(*args, **kwargs):
        error, out = compiled(*args, **kwargs)
        error.throw()
        return out

    return call
