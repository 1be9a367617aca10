"""A shape at which a kernel is costed, beside the same operation by XLA alone; a kernel's `cases.py` lists its own."""

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Case"]


class Case(NamedTuple):
    """Attributes:
    name: short, of letters and digits; with the kernel's name and the chip it names a budget.
    kernel: the kernel alone on arrays that are laid out already.
    args: its arguments, `jax.ShapeDtypeStruct` trees for one device.
    peer: the same operation by XLA.
    peer_args: its arguments; None if they are the same.
    units: how many of `per` one call does.
    per: what cycles are quoted for: "call", "row", "program and block".
    peer_units: how many of `per` one call of the peer does; None if as many.
    """

    name: str
    kernel: Callable[..., Any]
    args: tuple
    peer: Callable[..., Any]
    peer_args: tuple | None = None
    units: float = 1.0
    per: str = "call"
    peer_units: float | None = None
