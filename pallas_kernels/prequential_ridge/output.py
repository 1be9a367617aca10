"""What one call of `prequential_ridge` returns."""

from typing import NamedTuple

import jax

__all__ = ["Output"]


class Output(NamedTuple):
    """`P` programs, `L` row slots each, `d` features.

    Derived quantities: log-determinant `sum log(pivot)` (nats); ridge value
    `sum residual**2 / pivot`; prediction `label - residual`; Vovk-Azoury-Warmuth prediction
    `(label - residual) / pivot`.
    """

    residual: jax.Array  # [P, L] label minus the prediction made before the row was learnt; 0 on padding
    pivot: jax.Array  # [P, L] 1 + x' P x with P from before the row, >= 1; 1 on padding
    factor: jax.Array  # [P, d, d] (lambda I + sum x x')^-1 after all rows
    weights: jax.Array  # [P, d] ridge weights after all rows
