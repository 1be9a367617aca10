"""What it is worth to know some parameters before one decides: expected value of partial perfect information (EVPPI).

One of K options is chosen; option k brings f_k(X, Y), with uncertain parameters X and Y. To know X first is worth

    EVPPI = E[max_k E[f_k(X, Y) | X]] - max_k E[f_k(X, Y)].

Every problem here is written in terms of f_k - f_best, where `best` is the best option as things stand: its value then
is EVPPI itself, and what all options share is gone from the variance. The inner mean is a vector, the link its largest
entry, with a corner where two options are equally good. Source: `giles:19`.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy import special

from research.core import validate
from research.core.types import Array, Float
from research.mlmc import links
from research.mlmc.problems import NestedExpectation, normals

__all__ = [
    "Decision", "LinearDecision", "expected_maximum", "linear_decision", "partial_information", "perfect_information",
]  # fmt: skip


class Decision(NestedExpectation):
    """Base class: X is drawn in `init`, Y given X in `transition`."""

    best: eqx.AbstractVar[int]  # index of the option with the largest mean

    def benefits(self, state) -> Float[Array, " K"]:
        """f_1, ..., f_K of all parameters."""
        raise NotImplementedError

    def features(self, state) -> Float[Array, " F"]:
        """Functions of X of which regression makes E[f | X]; about 1 in size, the first one 1."""
        raise NotImplementedError

    @property
    def smoothness(self):
        return ("kink",)

    def leaf(self, state):
        benefits = self.benefits(state)
        return benefits - benefits[self.best]

    def link(self, d, state, z):
        return links.MaxOver()(z)

    def delta(self, d, state, a, b):
        return links.MaxOver().delta(a, b)


class LinearDecision(Decision):
    """f_k = intercepts_k + slopes_k x + noise_k . y with independent standard normal x (one number) and y `[P]`."""

    intercepts: Float[Array, " K"]
    slopes: Float[Array, " K"]
    noise: Float[Array, "K P"]
    best: int = eqx.field(static=True)
    exact: float | None = eqx.field(static=True, default=None)

    @property
    def kinds(self):
        return normals(1, self.noise.shape[1])

    def init(self, u):
        return u[0], jnp.zeros(self.noise.shape[1:], u.dtype)

    def transition(self, d, state, u):
        return state[0], u

    def benefits(self, state):
        x, y = state
        return self.intercepts + self.slopes * x + self.noise @ y

    def features(self, state):
        x = state[0]
        return jnp.stack([x**k for k in range(6)])


def linear_decision(intercepts, slopes, noise, dtype=jnp.float32) -> LinearDecision:
    """A linear decision with its exact EVPPI.

    Args:
      intercepts, slopes: `[K]`, K >= 2.
      noise: `[K, P]` or `[K]` for one y.

    Raises: ValueError for shapes that do not fit or numbers that are not finite.
    """
    a, b, c = (np.asarray(each, np.float64) for each in (intercepts, slopes, noise))
    validate.require(
        a.ndim == 1 and len(a) >= 2, "intercepts", "be a vector of at least two options", f"shape {a.shape}"
    )
    validate.shape("slopes", b, a.shape)
    c = c[:, None] if c.ndim == 1 else c
    validate.shape("noise", c, (len(a), None))
    for name, value in (("intercepts", a), ("slopes", b), ("noise", c)):
        validate.finite(name, value)
    value = expected_maximum(a, b) - float(a.max())
    return LinearDecision(*(jnp.asarray(each, dtype) for each in (a, b, c)), int(np.argmax(a)), value)


def expected_maximum(intercepts, slopes) -> float:
    """E max_k (a_k + b_k x) for a standard normal x and `[K]` intercepts a and slopes b: exact.

    The maximum of lines is a convex chain of them in the order of their slopes; between its corners the integral of a
    line against the normal density is elementary.
    """
    chain: list[tuple[float, float, float]] = []  # (slope, intercept, corner where the line takes over)
    for b, a in sorted(zip(np.asarray(slopes, float).tolist(), np.asarray(intercepts, float).tolist(), strict=True)):
        if chain and chain[-1][0] == b:
            chain.pop()  # the same slope with a smaller intercept: nowhere best
        start = -math.inf
        while chain:
            slope, intercept, corner = chain[-1]
            start = (intercept - a) / (b - slope)
            if start > corner:
                break
            chain.pop()
            start = -math.inf
        chain.append((b, a, start))
    slope, intercept, start = (np.array(each) for each in zip(*chain, strict=True))
    end = np.append(start[1:], np.inf)
    mass = special.ndtr(end) - special.ndtr(start)
    moment = (np.exp(-(start**2) / 2) - np.exp(-(end**2) / 2)) / math.sqrt(2 * math.pi)
    return float(np.sum(intercept * mass + slope * moment))


def partial_information(intercept: float, slope: float) -> float:
    """EVPPI of x where the options are 0 and intercept + slope x + anything of mean zero that x does not tell:
    |b| phi(a / |b|) + a Phi(a / |b|) - max(a, 0)."""
    if slope == 0:
        return 0.0
    ratio = intercept / abs(slope)
    density = math.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    return abs(slope) * density + intercept * float(special.ndtr(ratio)) - max(intercept, 0.0)


def perfect_information(intercept: float, *slopes: float) -> float:
    """EVPI of the options 0 and intercept + sum_j slopes_j x_j: what it is worth to know every x_j."""
    return partial_information(intercept, math.hypot(*slopes))
