"""Derivatives of a solution by what defines it, from its fixed-point equation: no iteration is differentiated.

Where u = T(theta, u), v'du = w'(dT/dtheta) dtheta for the w that solves w = v + (dT/du)'w. That equation is a fixed
point of the same kind: (dT/du)' is nonexpansive where T is, in the dual norm, so restarted Halpern iteration solves it
too, one transposed derivative of T an iteration.

Where it holds. T is differentiable at the solution if no component sits on a kink of the prox by accident: a
projection's multiplier and slack, say, must not both vanish (strict complementarity). The equation has one solution if
the solution u is isolated: F + G strongly monotone is enough, as is, for a linear program, a nondegenerate vertex with
unique multipliers. Elsewhere there may be no derivative: a degenerate program's x jumps with c. An adjoint that the
iterations do not reach gives NaN, never a number that looks like a gradient. An optimal value needs none of this: its
derivatives are x* in c and -y* in b.
Source: `blondel:22`; `lieder:21` for the iteration.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int
from research.halpern import pdhg
from research.halpern.inclusions import Inclusion, Point
from research.halpern.linear_programs import LinearProgram

__all__ = ["Adjoint", "FixedPoint", "attach", "fixed_point", "forward_backward", "primal_dual"]

#: As `pdhg`: of the epoch's first distance; of it, if the distance grows; of all iterations.
_SUFFICIENT, _NECESSARY, _ARTIFICIAL = 0.2, 0.8, 0.36


class Adjoint(NamedTuple):
    """When the adjoint equation counts as solved, Python numbers."""

    max_steps: int = 100_000
    tolerance: float | None = None  # |w - (v + J'w)| / |v|; None: 64 units in the last place


class FixedPoint(NamedTuple):
    point: Point
    distance: Float[Array, ""]  # |point - T(point)|, Euclidean
    steps: Int[Array, ""]  # applications of T
    reached: Bool[Array, ""]  # whether distance <= tolerance


class _Loop(NamedTuple):
    at: Point
    anchor: Point
    inner: Int[Array, ""]
    total: Int[Array, ""]
    first: Float[Array, ""]
    last: Float[Array, ""]
    moved: Point


def fixed_point(mapping: Callable[[Point], Point], start: Point, tolerance, max_steps: int) -> FixedPoint:
    """Halpern's iteration restarted by the rule of `pdhg`, for a T that is nonexpansive in some norm.

    The rule compares Euclidean distances, whatever the norm is; its restarts after a share of all iterations keep the
    rate of the anchor within a constant.

    Args:
      tolerance: the distance |u - T(u)| to stop at.
      max_steps: >= 1.
    """

    def going(loop):
        return (loop.total < max_steps) & (loop.last > tolerance)

    def body(loop):
        moved = mapping(loop.at)
        gone = optax.tree.norm(optax.tree.sub(loop.at, moved))
        real, total = loop.inner.astype(gone.dtype), loop.total + 1
        first = jnp.where(loop.inner == 0, gone, loop.first)
        rising = (gone <= _NECESSARY * first) & (gone > loop.last)
        restart = (loop.inner > 0) & ((gone <= _SUFFICIENT * first) | rising | (real >= _ARTIFICIAL * total))
        share = 1 / (real + 2)
        onwards = jax.tree.map(lambda a, m: share * a + (1 - share) * m, loop.anchor, moved)
        at, anchor = (jax.tree.map(lambda m, o: jnp.where(restart, m, o), moved, old) for old in (onwards, loop.anchor))
        return _Loop(at, anchor, jnp.where(restart, 0, loop.inner + 1), total, first, gone, moved)

    dtype = jax.tree.leaves(start)[0].dtype
    far, none = jnp.asarray(jnp.inf, dtype), jnp.int32(0)
    last = jax.lax.while_loop(going, body, _Loop(start, start, none, none, far, far, start))
    return FixedPoint(last.moved, last.last, last.total, last.last <= tolerance)


def attach(
    mapping: Callable[[Any, Point], Point], theta: Any, solution: Point, adjoint: Adjoint | None = None
) -> Point:
    """`solution`, bit for bit, with the derivatives that u = mapping(theta, u) gives it; reverse mode.

    Args:
      mapping: T(theta, u), differentiable near the solution; reads no other traced value.
      theta: any tree; leaves that are not floating have no derivative.
      solution: a fixed point as exact as gradients should be.
      adjoint: when to stop, by default as `Adjoint()`; beyond it the gradient is NaN.

    Raises:
      ValueError: max_steps < 1 or tolerance <= 0.
    """
    adjoint = Adjoint() if adjoint is None else adjoint
    checks.at_least("Adjoint.max_steps", adjoint.max_steps, 1)
    if adjoint.tolerance is not None:
        checks.positive("Adjoint.tolerance", adjoint.tolerance)
    moving, fixed = eqx.partition(theta, eqx.is_inexact_array)

    @jax.custom_vjp
    def solved(moving, fixed, solution):
        del moving, fixed
        return solution

    def forward(moving, fixed, solution):
        return solution, (moving, fixed, solution)

    def backward(kept, v):
        moving, fixed, solution = kept
        _, by_point = jax.vjp(lambda u: mapping(eqx.combine(moving, fixed), u), solution)
        size = optax.tree.norm(v)
        relative = 64 * jnp.finfo(size.dtype).eps if adjoint.tolerance is None else adjoint.tolerance
        found = fixed_point(lambda w: optax.tree.add(v, by_point(w)[0]), v, relative * size, adjoint.max_steps)
        w = jax.tree.map(lambda leaf: jnp.where(found.reached, leaf, jnp.nan), found.point)
        _, by_theta = jax.vjp(lambda moving: mapping(eqx.combine(moving, fixed), solution), moving)
        return by_theta(w)[0], None, None

    solved.defvjp(forward, backward)
    return solved(moving, fixed, jax.lax.stop_gradient(solution))


def forward_backward(
    inclusion: Inclusion, solution: Point, step_size: Float[Array, ""] | None = None, adjoint: Adjoint | None = None
) -> Point:
    """A solution of 0 in F + G with its derivatives by every array of the inclusion.

    By u = prox_{eta G}(u - eta F(u)), which is nonexpansive for eta <= 2 / L_F where F is cocoercive, and a contraction
    where F is strongly monotone as well (eta <= mu / L_F^2 if it is no gradient).

    Args:
      step_size: eta; None: 1 / L_F. Derivatives do not depend on it.
    """
    size = 1 / inclusion.lipschitz_full if step_size is None else step_size

    def mapping(theta, u):
        inclusion, size = theta[0], jax.lax.stop_gradient(theta[1])
        return inclusion.prox(optax.tree.add_scale(u, -size, inclusion.full(u)), size)

    return attach(mapping, (inclusion, jnp.asarray(size)), solution, adjoint)


def primal_dual(program: LinearProgram, z: Point, weight: float = 1.0, adjoint: Adjoint | None = None) -> Point:
    """A linear program's z = (x, y) with its derivatives by c, A, b and the bounds.

    By the map of `pdhg`. At a nondegenerate vertex x* does not move with c, nor y* with b.

    Args:
      weight: omega of the map; derivatives do not depend on it, the iterations of the adjoint do.
    """

    def mapping(theta, z):
        program, steps = theta[0], jax.lax.stop_gradient(theta[1:])
        moved = pdhg.move(program, pdhg.lift(program, z), *steps)
        return moved.x, moved.y

    size = 0.99 * pdhg.certified_step(program)
    return attach(mapping, (program, size, jnp.asarray(weight, size.dtype)), z, adjoint)
