"""Cycles of the kernels over windows that overlap or do not, beside XLA's own schedule of the same.

  python -m pallas_kernels.window_stats.shapes [--shape=8x28x28x128] [--dtypes=bfloat16,float32] [--chips=v5e,v6e]
      [--kinds=soft,power,max,avg] [--windows=2x2/2,3x3/2,3x3/1] [--sides=kernel,xla,hbm]

Estimates of the compiler per 1,024 elements of x, not measurements. Arrays are `[H, W, B, C]` in memory, as XLA has
them between convolutions. The kernel's is what twice as many images take more: a call of real size does not notice
what it pays once. Beside each estimate is the share of it that HBM needs alone, if reads and writes share the
bandwidth, which the simulator does not let them: where that is above 1 the memory is the wall. XLA's schedule
is of `xla.py` with one reference for the exponents of an image where windows overlap: "xla" is its cost at
the shape itself, where all arrays of it stay on the chip, and "hbm" that of arrays too large for that. A dash is where
nothing was simulated.
"""

import argparse
import math
import os
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="8x28x28x128", help="images x rows x columns x channels")
    parser.add_argument("--dtypes", default="bfloat16,float32", help="separated by commas")
    parser.add_argument("--chips", default="v5e,v6e", help="separated by commas")
    parser.add_argument("--kinds", default="soft,power,max,avg", help="separated by commas")
    parser.add_argument("--windows", default="2x2/2,3x3/2,3x3/1", help="separated by commas")
    parser.add_argument("--sides", default="kernel,xla,hbm", help="separated by commas; XLA's take minutes each")
    options = parser.parse_args(arguments)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # nothing is run here
    sides = options.sides.split(",")
    print("| windows | kind | dtype | chip | " + " | ".join(f"value, {s} | gradient, {s}" for s in sides) + " |")
    print("|---" * (4 + 2 * len(sides)) + "|")
    for windows in options.windows.split(","):
        for kind in options.kinds.split(","):
            for dtype in options.dtypes.split(","):
                for chip in options.chips.split(","):
                    cells = (_cell(windows, kind, dtype, chip, side, back, options.shape)
                             for side in sides for back in (False, True))  # fmt: skip
                    print(f"| {windows} | {kind} | {dtype} | {chip} | " + " | ".join(cells) + " |", flush=True)
    return 0


def _cell(windows, kind, dtype, chip, side, back, shape):
    from pallas_kernels._lab.chips import CHIPS
    from pallas_kernels.window_stats import cases

    batch, *rest = map(int, shape.split("x"))
    square, stride = windows.split("/")
    asked = kind, int(square.split("x")[0]), int(stride)
    cycles = _cycles(asked, (batch, *rest), dtype, chip, side, back)
    if side == "kernel":
        twice = _cycles(asked, (2 * batch, *rest), dtype, chip, side, back)
        cycles = twice - cycles if cycles and twice else None
    if cycles is None:
        return "-"
    _, args = cases.one_way(*asked, (batch, *rest), dtype, side, back)
    limit = CHIPS[chip].cycles(cases.traffic(kind, args, back))
    return f"{1024 * cycles / math.prod((batch, *rest)):.1f} ({limit / cycles:.2f})"


def _cycles(asked, shape, dtype, chip, side, back):
    from pallas_kernels._lab import LabError, cost
    from pallas_kernels.window_stats import cases

    function, args = cases.one_way(*asked, shape, dtype, "kernel" if side == "kernel" else "xla", back)
    try:
        return cost(function, args, chip, in_hbm=side == "hbm").simulated
    except LabError:
        return None


if __name__ == "__main__":
    sys.exit(main())
