"""Which method to run, by the constants of a problem, before a run.

The predictions are worst-case calls to a residual eps from a distance R, and their ratio does not depend on either:

* class B: Algorithm 2, practical schedule, 12.5 sqrt(n) L R / eps, against the fast extragradient's 4 n L_F R / eps
  (the anchored extragradient where there are constraints);
* class A: Algorithm 1, step 0.7 / L, 34 sqrt(n) L R / eps, against Halpern forward-backward's n L_F R / eps;
* strongly monotone with modulus mu, where an anchor only slows: VR-FoRB alone, max(16 n, 20 sqrt(n) L / mu) log(R mu /
  eps) at s = 1/2 and p = 2/n, against forward-reflected-backward's (1 + 4 L_F / mu) n log(R mu / eps).

So variance reduction wins where L / L_F is below the break-even: sqrt(n) / 3.125 in class B, sqrt(n) / 34 in class A,
sqrt(n) / 5 where F + G is strongly monotone and badly conditioned.
Typical problems are kinder than worst cases: read the winner as a first guess, the ratio as how clear it is.
Source: `cai:24` for the orders; constants are ours.
"""

from typing import NamedTuple

import jax.numpy as jnp

from research.core import validate
from research.core.types import Array, Bool, Float
from research.halpern.inclusions import Inclusion

__all__ = ["Recommendation", "recommend"]

#: Calls over sqrt(n) L R / eps, then over n L_F R / eps.
COCOERCIVE = (34.0, 1.0)
MONOTONE = (12.5, 4.0)


class Recommendation(NamedTuple):
    """Constants of a problem and what they predict."""

    num_components: int
    lipschitz: Float[Array, ""]  # L
    lipschitz_full: Float[Array, ""]  # L_F
    ratio: Float[Array, ""]  # L / L_F, in [1, sqrt(n)] for the exact constants of a uniform law
    break_even: float  # variance reduction wins below this ratio
    reduces_variance: Bool[Array, ""]  # whether it is predicted to win
    reduced_calls: Float[Array, ""]  # of the method with variance reduction
    full_calls: Float[Array, ""]  # of the one without
    methods: tuple[str, str]  # the two compared, modules of this family, with variance reduction first

    @property
    def winner(self) -> str:
        """The module predicted to need fewer calls; on concrete values only."""
        return self.methods[0 if bool(self.reduces_variance) else 1]


def recommend(
    inclusion: Inclusion, *, distance: float = 1.0, residual: float = 1e-3, strong_monotonicity: float | None = None
) -> Recommendation:
    """Compares the two methods of the problem's class.

    Args:
      distance: R, from the start to a solution.
      residual: eps > 0, the accuracy wanted.
      strong_monotonicity: mu >= 0 of F + G; by default the inclusion's own, where it has one.
    """
    validate.positive("distance", distance)
    validate.positive("residual", residual)
    modulus = getattr(inclusion, "strong_monotonicity", 0.0) if strong_monotonicity is None else strong_monotonicity
    validate.at_least("strong_monotonicity", modulus, 0)
    n, average, whole = inclusion.num_components, inclusion.lipschitz, inclusion.lipschitz_full
    root = n**0.5
    if validate.is_concrete(modulus) and float(modulus) > 0:
        digits = jnp.log(jnp.maximum(distance * modulus / residual, 2.0))
        reduced = jnp.maximum(16.0 * n, 20.0 * root * average / modulus) * digits
        full = n * (1 + 4.0 * whole / modulus) * digits
        methods, break_even = ("vr_forb", "forward_reflected"), root / 5
    else:
        of_reduced, of_full = COCOERCIVE if inclusion.cocoercive else MONOTONE
        reduced = of_reduced * root * average * distance / residual
        full = of_full * n * whole * distance / residual
        methods = ("page", "forward_backward") if inclusion.cocoercive else ("resolvent", "extragradient")
        break_even = of_full * root / of_reduced
    return Recommendation(n, average, whole, average / whole, break_even, reduced < full, reduced, full, methods)
