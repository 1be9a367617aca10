"""Cycles of the whole public function at several shapes, beside XLA's own schedule of the same.

  python -m pallas_kernels.monoid_tree.shapes [--gradient] [--precision=highest] [--chips=v5e,v6e]
                                              [--shapes=1x4096x128,64x256x32]

Estimates of the compiler, not measurements. A shape is collections x elements x channels. A dash is where nothing was
simulated: an estimate of 0 cycles is none.
"""

import argparse
import os
import sys

__all__ = ["main"]

_SHAPES = (
    "1x128x128,1x1024x128,1x4096x128,1x16384x128,8x1024x128,8x1000x128,64x128x128,256x16x128,64x256x32,8x1024x64,"
    "4x1024x256"
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gradient", action="store_true", help="value and all derivatives instead of the value")
    parser.add_argument("--precision", default="default", choices=["default", "highest"], help="of products")
    parser.add_argument("--chips", default="v5e,v6e", help="separated by commas")
    parser.add_argument("--shapes", default=_SHAPES, help="collections x elements x channels, separated by commas")
    options = parser.parse_args(arguments)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # nothing is run here
    chips = options.chips.split(",")
    print("| shape | " + " | ".join(f"{chip} | XLA | times" for chip in chips) + " |")
    print("|---" * (1 + 3 * len(chips)) + "|")
    for shape in options.shapes.split(","):
        found = (_both(shape, chip, options) for chip in chips)
        print(f"| {shape} | " + " | ".join(map(_cells, found)) + " |", flush=True)
    return 0


def _both(shape, chip, options):
    return [_cycles(shape, chip, options, impl) for impl in ("pallas_tpu", "xla")]


def _cycles(shape, chip, options, impl):
    import jax
    import jax.numpy as jnp

    from pallas_kernels._lab import cost
    from pallas_kernels.monoid_tree import api, cases

    collections, elements, channels = map(int, shape.split("x"))
    args = api.abstract(collections, elements, channels)
    asked = cases.value
    if options.gradient:
        asked, args = cases.gradient, (*args, jax.ShapeDtypeStruct((collections, channels), jnp.float32))
    with jax.default_matmul_precision(options.precision):
        return cost(lambda *args: asked(*args, impl=impl), args, chip).simulated


def _cells(pair):
    ours, theirs = pair
    ratio = f"{theirs / ours:.2f}" if ours and theirs else "-"
    return " | ".join("-" if value is None else f"{value:,.0f}" for value in pair) + f" | {ratio}"


if __name__ == "__main__":
    sys.exit(main())
