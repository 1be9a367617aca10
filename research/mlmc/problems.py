"""A repeatedly nested expectation as a push-forward of independent variates.

A random path y_0, ..., y_D is drawn from the outside in, y_d given y_0, ..., y_{d-1}. With functions g_0, ..., g_D,

    gamma_D(y_0 .. y_{D-1}) = E[g_D(y_0 .. y_D) | y_0 .. y_{D-1}]
    gamma_d(y_0 .. y_{d-1}) = E[g_d(y_0 .. y_d, gamma_{d+1}(y_0 .. y_d)) | y_0 .. y_{d-1}],    d = D-1, ..., 0,

and gamma_0 is wanted. A problem maps variates to states and says nothing of where the variates come from, so that every
method draws for it and randomness stays a function of (seed, replicate). Source: `syed:23`, section 2.

A node of depth d is one draw of y_d; its children are draws of y_{d+1} given it; a node of depth D is a leaf. All
functions of a problem are written for one node, and methods `vmap` them. They take a fixed number of variates: a
rejection sampler does not fit.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate
from research.core.types import Array, Float

__all__ = [
    "INNER",
    "KINDS",
    "MAX_DEPTH",
    "SMOOTHNESS",
    "NestedExpectation",
    "check",
    "direct_delta",
    "normals",
]

MAX_DEPTH = 6
#: Laws of a variate: standard normal, or uniform on the open unit interval.
KINDS = ("normal", "uniform")
#: Classes of links, for the moments of a randomized estimator: a bounded second derivative; the same with quadratic
#: growth (z**2); a corner at which the argument has a bounded density (max, |z|); Lipschitz and no more; a jump.
SMOOTHNESS = ("smooth", "quadratic", "kink", "lipschitz", "discontinuous")
#: How the values of innermost children are averaged: their mean, or, of logarithms, the logarithm of the mean.
INNER = ("mean", "logmeanexp")


class NestedExpectation(eqx.Module):
    """Base class; a subclass has the fields and methods below. Knobs of the problem are array fields, so that they are
    traced and may be differentiated; `kinds`, `smoothness` and `inner` are static.
    """

    # For each depth the laws, of KINDS, of the variates that a node of that depth takes; D + 1 of them, D in 0, ..., 6.
    kinds: eqx.AbstractVar[tuple[tuple[str, ...], ...]]
    smoothness: eqx.AbstractVar[tuple[str, ...]]  # length D: class of the link at each depth, of SMOOTHNESS
    exact: eqx.AbstractVar[float | None]  # gamma_0 where it is known

    @property
    def depth(self) -> int:
        """D, the number of nestings."""
        return len(self.kinds) - 1

    @property
    def num_variates(self) -> tuple[int, ...]:
        """Variates that a node of each depth takes, length D + 1."""
        return tuple(len(laws) for laws in self.kinds)

    @property
    def inner(self) -> str:
        """How values of leaves are averaged, of INNER."""
        return "mean"

    @property
    def leaf_moments(self) -> float:
        """Largest p for which E|g_D|**p is finite; infinity for all."""
        return float("inf")

    def init(self, u: Float[Array, " V"]) -> Any:
        """The state after y_0, from `num_variates[0]` variates."""
        raise NotImplementedError

    def transition(self, d: int, state: Any, u: Float[Array, " V"]) -> Any:
        """The state after y_d, for d >= 1, given the state after y_{d-1}; history that matters stays in the state."""
        raise NotImplementedError

    def leaf(self, state: Any) -> Float[Array, "..."]:
        """g_D of the whole path."""
        raise NotImplementedError

    def link(self, d: int, state: Any, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """g_d of the path so far and z, which stands for gamma_{d+1}, for d < D."""
        raise NotImplementedError

    def delta(self, d: int, state: Any, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
        """g_d at (a + b)/2 less the mean of g_d at a and b. Overridden by a form without cancellation where there is
        one (`links`): the difference of order 2**-n is later multiplied by 1/p_n.
        """
        return direct_delta(lambda z: self.link(d, state, z), a, b)


def direct_delta(link, a, b):
    """link((a + b)/2) - (link(a) + link(b))/2 as it stands: loses digits where a and b are close."""
    return link((a + b) / 2) - (link(a) + link(b)) / 2


def normals(*counts: int) -> tuple[tuple[str, ...], ...]:
    """`kinds` of a problem whose variates are all normal, from the number of them at each depth."""
    return tuple(("normal",) * count for count in counts)


def check(problem: NestedExpectation, dtype: Any = jnp.float32) -> tuple[tuple[int, ...], ...]:
    """Traces a problem once for shapes, without running it.

    Args:
      dtype: of the variates.

    Returns:
      shapes of gamma_0, ..., gamma_D: of what links and leaf return, length D + 1.

    Raises:
      ValueError: depth out of range, fields of wrong length or unknown words, or links and leaf that do not fit
        together.
    """
    depth = problem.depth
    validate.require(0 <= depth <= MAX_DEPTH, "depth", f"lie in 0..{MAX_DEPTH}", depth)
    found = problem.smoothness
    validate.require(len(found) == depth, "smoothness", f"have {depth} entries at depth {depth}", found)
    for d, laws in enumerate(problem.kinds):
        for kind in laws:
            validate.one_of(f"kinds[{d}]", kind, KINDS)
    for word in problem.smoothness:
        validate.one_of("smoothness", word, SMOOTHNESS)
    validate.one_of("inner", problem.inner, INNER)
    return _shapes(problem, dtype)


def _shapes(problem: NestedExpectation, dtype: Any) -> tuple[tuple[int, ...], ...]:
    def variates(d):
        return jax.ShapeDtypeStruct((problem.num_variates[d],), dtype)

    states = [jax.eval_shape(problem.init, variates(0))]
    for d in range(1, problem.depth + 1):
        states.append(jax.eval_shape(lambda s, u, d=d: problem.transition(d, s, u), states[-1], variates(d)))
    value = jax.eval_shape(problem.leaf, states[-1])
    shapes = [value.shape]
    for d in reversed(range(problem.depth)):
        for name, function in (
            ("link", lambda s, z, d=d: problem.link(d, s, z)),
            ("delta", lambda s, z, d=d: problem.delta(d, s, z, z)),
        ):
            try:
                found = jax.eval_shape(function, states[d], value)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}({d}) must take z of shape {value.shape}, got: {error}") from error
            if name == "link":
                expected = found
            validate.require(
                found.shape == expected.shape,
                f"{name}({d})",
                f"have the shape of the link, {expected.shape}",
                found.shape,
            )
        value = expected
        shapes.append(value.shape)
    validate.require(shapes[-1] == (), "gamma_0", "be a scalar", f"shape {shapes[-1]}")
    return tuple(reversed(shapes))
