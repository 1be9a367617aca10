"""Arithmetic of a traced function, loops included: what XLA's own count misses inside loops and Pallas kernels."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

__all__ = ["Counts", "count", "sharded_over"]

_PASSES = {"HIGHEST": 6, "HIGH": 3}  # bfloat16 products that make up one float32 product
_TRANSCENDENTAL = frozenset(
    {
        "exp", "exp2", "expm1", "log", "log1p", "log2", "tanh", "logistic", "sin", "cos", "tan", "erf", "erf_inv",
        "erfc", "rsqrt", "sqrt", "cbrt", "pow", "atan2", "div",
    }
)  # fmt: skip
_ELEMENTWISE = frozenset(
    {
        "add", "add_any", "sub", "mul", "neg", "abs", "max", "min", "sign", "floor", "ceil", "round", "select_n",
        "clamp", "and", "or", "xor", "not", "eq", "ne", "lt", "le", "gt", "ge", "shift_left", "shift_right_logical",
        "shift_right_arithmetic", "integer_pow", "square", "rem", "nextafter",
    }
)  # fmt: skip
_REDUCTIONS = frozenset(
    {
        "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin",
        "cumsum",
    }
)  # fmt: skip


class Counts(NamedTuple):
    """Operations of one run on one device.

    Attributes:
      products: flops of matrix products and convolutions, two per multiply-add.
      passes: the same, each weighted by the passes through the matrix unit that its precision needs.
      elementwise: additions, comparisons, selections and the like, reductions included.
      transcendental: exponentials, logarithms, roots, divisions and the like.
      unknown_loops: loops whose number of rounds depends on data; their bodies are counted once.
      double: whether float64 occurs, which a TPU emulates.
    """

    products: float = 0.0
    passes: float = 0.0
    elementwise: float = 0.0
    transcendental: float = 0.0
    unknown_loops: int = 0
    double: bool = False

    @property
    def flops(self) -> float:
        return self.products + self.elementwise + self.transcendental

    def times(self, factor: float) -> "Counts":
        numbers = (value * factor for value in self[:4])
        return Counts(*numbers, self.unknown_loops, self.double)

    def __add__(self, other):
        numbers = (a + b for a, b in zip(self[:5], other[:5], strict=True))
        return Counts(*numbers, self.double or other.double)


def count(jaxpr: Any, platform: str, devices: int = 1) -> Counts:
    """Counts of a jaxpr. Outside of `shard_map` shapes are global, and the work is taken to be split evenly."""
    return sum((_equation(equation, platform, devices) for equation in jaxpr.eqns), Counts())


def sharded_over(jaxpr: Any) -> int:
    """Devices of the largest mesh that a `shard_map` in it names; 1 if there is none."""
    sizes = [1]
    for equation in jaxpr.eqns:
        if equation.primitive.name == "shard_map":
            sizes.append(equation.params["mesh"].size)
        leaves = jax.tree.leaves(equation.params, is_leaf=_is_jaxpr)
        sizes += [sharded_over(_open(value)) for value in leaves if _is_jaxpr(value)]
    return max(sizes)


def _equation(equation, platform, devices) -> Counts:
    name, params = equation.primitive.name, equation.params
    if name == "shard_map":
        return count(_open(params["jaxpr"]), platform, 1)
    if name == "pallas_call":
        grid = math.prod(size for size in params["grid_mapping"].grid if isinstance(size, int))
        return count(_open(params["jaxpr"]), platform, devices).times(grid)
    if name == "scan":
        return count(_open(params["jaxpr"]), platform, devices).times(params["length"])
    if name == "while":
        body = count(_open(params["body_jaxpr"]), platform, devices)
        return body + Counts(unknown_loops=1)
    if name == "cond":
        return _branches(equation, platform, devices)
    inner = [_open(value) for value in jax.tree.leaves(params, is_leaf=_is_jaxpr) if _is_jaxpr(value)]
    if inner:
        return sum((count(one, platform, devices) for one in inner[:1]), Counts())
    return _primitive(equation, name).times(1 / devices)


def _branches(equation, platform, devices):
    branches = [count(_open(branch), platform, devices) for branch in equation.params["branches"]]
    platforms = equation.params.get("branches_platforms")
    if platforms is not None:
        for names, found in zip(platforms, branches, strict=True):
            if names is None or platform in names:
                return found
    return max(branches, key=lambda found: found.flops)


def _primitive(equation, name) -> Counts:
    out = equation.outvars[0].aval if equation.outvars else None
    size = math.prod(getattr(out, "shape", ())) if out is not None else 0
    double = getattr(out, "dtype", None) in (np.dtype("float64"), np.dtype("complex128"))
    if name == "dot_general":
        (contract, _), _ = equation.params["dimension_numbers"]
        left = equation.invars[0].aval
        flops = 2.0 * size * math.prod(left.shape[axis] for axis in contract)
        return Counts(flops, flops * _passes(left.dtype, equation.params["precision"]), double=double)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        features = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        flops = 2.0 * size * math.prod(kernel) / max(features, 1)
        return Counts(flops, flops * _passes(out.dtype, equation.params["precision"]), double=double)
    if name in _TRANSCENDENTAL:
        return Counts(transcendental=size, double=double)
    if name in _ELEMENTWISE:
        return Counts(elementwise=size, double=double)
    if name in _REDUCTIONS or name == "addupdate":
        return Counts(elementwise=math.prod(equation.invars[0].aval.shape), double=double)
    return Counts(double=double)


def _passes(dtype, precision) -> int:
    if dtype != np.dtype("float32"):
        return 1
    first = precision[0] if isinstance(precision, tuple) else precision
    return _PASSES.get(getattr(first, "name", None), 1)


def _is_jaxpr(value) -> bool:
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def _open(value):
    return value.jaxpr if hasattr(value, "jaxpr") else value
