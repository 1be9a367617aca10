"""What the laboratory costs and what every test of kernels runs, for this operation.

Costs are of a value and its gradient together, spatial axes outermost on both sides, as XLA has images between
convolutions (on a v5e there is no copy around the kernel). Of XLA's schedules that the simulator accepts the best was
taken: windows as shifted arrays, the gradient gathered. At this size all its arrays stay on the chip.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._blocks import LANES, SUBLANES
from pallas_kernels._lab.case import Case, Example
from pallas_kernels.window_stats import api, kernel_tpu, kernel_tpu_back, xla
from pallas_kernels.window_stats.geometry import Axis, Geometry
from pallas_kernels.window_stats.rules import Exponential, rule

__all__ = ["cases", "examples", "one_way", "traffic"]

_SIDE = 28  # rows and columns
#: By window and stride.
_PADS = {(2, 2): (0, 0), (3, 2): (1, 1), (3, 1): (1, 1)}


def cases():
    """SoftPool and power means over 2x2 side by side; SoftPool's gradient over 3x3 by 2 in bfloat16, ResNet's.

    XLA's `reduce_window` is refused by the simulator. Other windows and kinds are costed by `shapes`.
    """
    return (
        _case("soft22", "soft", 2, 2),
        _case("power22", "power", 2, 2),
        _case("soft32back", "soft", 3, 2, "bfloat16", ways=(True,)),
    )


def _case(name, kind, window, stride, dtype="float32", ways=(False, True)):
    """128 channels of eight images; the kernel's cost is what 16 take more."""

    def asked(side, batch):
        shape = batch, _SIDE, _SIDE, LANES
        functions = [one_way(kind, window, stride, shape, dtype, side, back)[0] for back in ways]
        args = one_way(kind, window, stride, shape, dtype, side, True)[1]
        return (lambda *args: [function(*args) for function in functions]), args

    (kernel, args), (_, shorter), (by_xla, peer_args) = (
        asked("kernel", 2 * SUBLANES), asked("kernel", SUBLANES), asked("xla", SUBLANES))  # fmt: skip
    units = float(_SIDE**2)
    return Case(name, kernel, args, by_xla, peer_args, units, "1,024 elements", units, shorter)


def one_way(kind, window, stride, shape, dtype, side, back):
    """Value or gradient of `[B, H, W, C]` by "kernel" or "xla", and its arguments, with spatial axes outermost."""
    batch, rows, columns, channels = shape
    down, along = (Axis(size, window, stride, *_PADS[window, stride]) for size in (rows, columns))
    options = {"geometry": Geometry(down, along), "include_pad": False}
    law = rule(kind)
    calm = window > stride and isinstance(law, Exponential)

    def kernel(theta, x, cotangent):
        if not back:
            return kernel_tpu.stream_forward(theta, x, law=law, calm=calm, **options)
        return kernel_tpu_back.stream_backward(theta, x, cotangent, law=law, learned=False, calm=calm, **options)[0]

    def by_xla(theta, x, cotangent):
        x, cotangent = kernel_tpu.innermost(x), kernel_tpu.innermost(cotangent)
        rest = {"kind": kind, "ties": "first", "straight": False, "calm": calm}
        if not back:
            return kernel_tpu.outermost(xla.forward(x, theta[0], **rest, **options))
        return kernel_tpu.outermost(xla.backward(x, theta[0], cotangent, learned=False, **rest, **options)[0])

    args = (
        jax.ShapeDtypeStruct((1, channels), jnp.float32),
        jax.ShapeDtypeStruct((rows, columns, batch, channels), dtype),
        jax.ShapeDtypeStruct((down.out, along.out, batch, channels), dtype),
    )
    return (kernel if side == "kernel" else by_xla), args


def traffic(kind, args, back):
    """Bytes that HBM has to move: x and the value; or x where slopes depend on it, the cotangent and the slopes."""
    _, x, out = (math.prod(arg.shape) * arg.dtype.itemsize for arg in args)
    return out + x * (1 + rule(kind).looks_back if back else 1)


def examples():
    """Windows side by side with rows and columns left over; overlapping; over the border, far apart in one of the
    grid's steps.

    Images and channels that fill no register; several steps along rows.
    """
    return (
        _example("left over", "soft", (5, 5), (2, 2), (2, 2), rows=2),
        _example("overlapping", "power", (5, 7), (3, 3), (2, 2), rows=2),
        _example("far apart", "soft", (4, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), rows=2),
    )


def _example(name, kind, shape, window, strides, padding=((0, 0), (0, 0)), *, rows):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, *shape, 3))
    x = np.abs(x) + 0.1 if kind == "power" else x
    if name == "far apart":
        x[8, ::2] *= 60
    args = jnp.asarray(x, jnp.float32), jnp.asarray([0.7, 1.3, 2.5], jnp.float32)
    options = {"kind": kind, "window": window, "strides": strides, "padding": padding}

    def call(*args, impl):
        return jax.jit(functools.partial(api.window_stats, **options, impl=impl))(*args)

    def interpret(x, theta, mode):
        rest = {"ties": "first", "straight": False, "count_include_pad": False}
        chosen = dict(api.checked(x, theta, **options, **rest))
        return kernel_tpu.forward(x, theta, **chosen, rows=rows, interpret=mode)

    call.options = options
    # Values and slopes are off by some roundings of the largest; the derivative in beta, a difference of squares, by
    # roundings of the squares, too many where elements are some hundreds.
    return Example(name, args, call, interpret, 2e-6, differentiable=(0,) if name == "far apart" else (0, 1))
