"""How far a point is from the resolvent, computed without knowing the resolvent.

One forward-backward-forward step on the subproblem of `subproblem` gives an element of its operator at the point it
ends in; the operator is 1-strongly monotone, so the length of that element bounds the distance to the solution. The
same element, with the shift taken off, lies in (F + G) at that point: a residual of the inclusion itself, without
sampling error and without an unknown constant.
Source: `tseng:00` for the step; the bounds are one line each from strong monotonicity.
"""

from typing import NamedTuple

import optax

from research.core.types import Array, Float
from research.halpern.inclusions import Point
from research.halpern.subproblem import Subproblem

__all__ = ["CALLS", "Certificate", "certify", "is_accurate"]

#: Evaluations of F that a certificate costs, each n calls.
CALLS = 2


class Certificate(NamedTuple):
    """About `point`, which is what to return: it lies in the domain of G, and within `error` of J(center)."""

    point: Point
    error: Float[Array, ""]  # >= |point - J(center)|
    distance: Float[Array, ""]  # |center - point|
    residual: Float[Array, ""]  # >= the smallest |F(point) + g|, g in G(point)


def certify(problem: Subproblem, v: Point, step_size: Float[Array, ""] | None = None) -> Certificate:
    """Moves a candidate v by one step and certifies where it ends. Costs 2n calls.

    Args:
      problem: what v approximately solves.
      v: any point.
      step_size: t > 0; None: 1 / (c L_F + 1). Every t gives a valid bound, this one a tight one.
    """
    t = 1 / problem.lipschitz_full if step_size is None else step_size
    operator = problem.full(v)
    point = problem.prox(optax.tree.add_scale(v, -t, operator), t)
    # (v - point) / t - H(v) lies in c G(point); adding H(point) makes it an element of the subproblem's operator.
    change = optax.tree.sub(problem.full(point), operator)
    element = optax.tree.add_scale(change, 1 / t, optax.tree.sub(v, point))
    displacement = optax.tree.sub(problem.center, point)
    residual = optax.tree.norm(optax.tree.add(element, displacement)) / problem.scale
    return Certificate(point, optax.tree.norm(element), optax.tree.norm(displacement), residual)


def is_accurate(certificate: Certificate, ratio: Float[Array, ""]):
    """Whether |point - J| <= ratio |center - J| is certain; ratio in (0, 1).

    |center - J| >= distance - error, so it is enough that error <= ratio (distance - error).
    """
    return certificate.error * (1 + ratio) <= ratio * certificate.distance
