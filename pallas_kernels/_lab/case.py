"""What a kernel's `cases.py` lists: shapes at which it is costed, and small examples on which it is tested.

A kernel whose block sizes are tuned by estimate also has

    def sweep() -> Iterable[tuple[dict, BlockSizes, Case]]

with one entry for each size to try: the bucket of `pallas_kernels/tuned/<kernel>.json` that it is tried for (platform,
dtype and width), the sizes (any flat dataclass of ints, what the table keeps), and a case whose `kernel` uses them.
Points of one bucket must do comparable work: what is compared is cycles per `units`. `python -m experiments.aot
--kernel=<kernel> --sweep_blocks` costs them all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Case", "Example"]


class Case(NamedTuple):
    """A shape at which a kernel is costed, beside the same operation by XLA alone.

    Attributes:
      name: short, of letters and digits; with the kernel's name and the chip it names a budget.
      kernel: the kernel alone on arrays that are laid out already.
      args: its arguments, `jax.ShapeDtypeStruct` trees for one device.
      peer: the same operation by XLA.
      peer_args: its arguments; None if they are the same.
      units: how many of `per` one call does, or how many more than the shorter one.
      per: what cycles are quoted for: "call", "row", "program and block".
      peer_units: how many of `per` one call of the peer does; None if as many.
      shorter: arguments of a call that is as large but for its length; its cost is taken off, so that what every call
        pays once, and a call of real length does not notice, is not charged to a few units.
      slow: whether its budget is left to the slow tests; a kernel's first case never is, and should be simulated within
        some three seconds.
    """

    name: str
    kernel: Callable[..., Any]
    args: tuple
    peer: Callable[..., Any]
    peer_args: tuple | None = None
    units: float = 1.0
    per: str = "call"
    peer_units: float | None = None
    shorter: tuple | None = None
    slow: bool = False

    def side(self, impl: str) -> tuple[Callable[..., Any], tuple, float]:
        """Function, arguments and units of one call: of the "kernel", or of "xla", its peer."""
        if impl == "kernel":
            return self.kernel, self.args, self.units
        args = self.args if self.peer_args is None else self.peer_args
        return self.peer, args, self.units if self.peer_units is None else self.peer_units


class Example(NamedTuple):
    """A small call with sizes that fill no block, run in interpret mode by the tests that every kernel gets.

    Attributes:
      name: says what is odd about it.
      args: concrete float32 or integer arrays, at most some thousand numbers and 16 grid steps.
      call: `call(*args, impl=...)`, the public function.
      interpret: `interpret(*args, mode)`, the kernel itself; `mode` is what `pl.pallas_call` takes as `interpret`.
      tolerance: largest allowed difference from the reference, relative to the largest value where that exceeds 1.
      differentiable: positions in `args` of what the operation has derivatives of.
    """

    name: str
    args: tuple
    call: Callable[..., Any]
    interpret: Callable[..., Any]
    tolerance: float
    differentiable: tuple[int, ...] = ()
