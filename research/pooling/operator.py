"""What a module of this family says of its operators: enough to test every one of them, and to print the catalogue.

A module's `example(key)` returns a dictionary of name to `Operator`. The conformance tests and the catalogue page find
it through `research.core.discover.operators`, so an operator is tested because it exists.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["INVARIANTS", "Operator"]

#: What may be claimed of an operator; the tests assert every claim, in float64, on random inputs.
INVARIANTS = {
    "permutation": "the same for elements in any order",
    "idempotent": "a collection of equal elements gives that element",
    "homogeneous": "y(c x) = c y(x) for c > 0",
    "shift": "y(x + c) = y(x) + c",
    "monotone": "nowhere decreasing in an element",
    "min_max": "between the smallest and the largest element, per channel",
    "mean_max": "between the mean and the largest element, per channel",
}


class Operator(NamedTuple):
    """One operator, small enough to be differentiated numerically.

    `inputs` and `mask` have a leading batch axis; entries of a batch do not see each other. One that claims invariants
    maps collections `[B, N, C]` to `[B, C]`.
    """

    apply: Callable  # (params, inputs, mask) -> arrays; pure
    params: Any  # pytree of arrays, () without parameters
    inputs: Any  # pytree of `[B, ...]` arrays; those that are floating are differentiated
    formula: str  # one line
    source: str  # citation key and place
    figure: str = ""  # "pooling/fig_name", where there is one
    mask: Any = None  # `[B, N]` bool, True takes part; None where collections have no padding
    invariants: tuple[str, ...] = ()  # of INVARIANTS
    differentiable: bool = True  # False: selections and robust fixed points, through which no gradient is defined
    positive: bool = False  # inputs must be positive
    degree: int = 1  # of the largest power of inputs in outputs: 2 for products, which leave float16 beyond 255
