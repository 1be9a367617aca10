"""Expected information gain of an experiment: how many nats its outcome tells of the parameters on average.

    EIG = E[log p(y | theta)] - E[log p(y)],    p(y) = E p(y | theta') over the prior, theta' independent of y.

The inner mean is of likelihoods, and is taken of their logarithms ("logmeanexp"): products of densities underflow. Its
link is -log. Sources: `goda:20`; the closed form for a linear model is classical.

**Take a proposal.** Where the data tell much, the prior seldom meets the posterior: inner means of likelihoods are then
carried by single samples, second differences decay slower than for a smooth link, and the estimate has tails that its
standard error does not show. `inner_share` says how bad it is before a run. With theta' drawn near the posterior and
weighted by prior over proposal, the inner mean stays the same and its spread nearly vanishes.
"""

import math
import warnings

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.core.types import Array, Float
from research.mlmc.bounds import HeavyTailWarning
from research.mlmc.problems import NestedExpectation, normals

__all__ = ["PROPOSALS", "LinearExperiment", "information_gain", "inner_share", "linear_experiment"]

#: Where inner parameters are drawn: from the prior, or around their posterior given the outcome.
PROPOSALS = ("prior", "posterior")


class LinearExperiment(NestedExpectation):
    """y = design theta + noise e with independent standard normal e `[N]` and normal theta `[P]` of mean zero.

    Inner parameters are theta' = gain y + spread e': both zero-mean normal laws, so that one class has every proposal.
    """

    design: Float[Array, "N P"]
    scale: Float[Array, " P"]  # prior standard deviations
    noise: Float[Array, ""]  # standard deviation of the error
    gain: Float[Array, "P N"]
    spread: Float[Array, "P P"]  # lower triangular
    exact: float | None = eqx.field(static=True, default=None)

    @property
    def kinds(self):
        outcomes, parameters = self.design.shape
        return normals(parameters + outcomes, parameters)

    @property
    def smoothness(self):
        return ("smooth",)

    @property
    def inner(self):
        return "logmeanexp"

    def init(self, u):
        """The outcome, the log-likelihood of the parameters that made it, and room for a log-weight."""
        parameters = len(self.scale)
        theta, error = self.scale * u[:parameters], u[parameters:]
        return self.design @ theta + self.noise * error, -jnp.sum(error**2) / 2, jnp.zeros((), u.dtype)

    def transition(self, d, state, u):
        outcome, likelihood, _ = state
        theta = self.gain @ outcome + self.spread @ u
        fit = -jnp.sum(((outcome - self.design @ theta) / self.noise) ** 2) / 2
        # Densities of theta' under prior and proposal; factors of 2 pi cancel.
        prior = -jnp.sum((theta / self.scale) ** 2) / 2 - jnp.sum(jnp.log(self.scale))
        proposal = -jnp.sum(u**2) / 2 - jnp.sum(jnp.log(jnp.diagonal(self.spread)))
        return outcome, likelihood, fit + prior - proposal

    def leaf(self, state):
        """log p(y | theta') prior / proposal, up to the constant that `link` leaves out too."""
        return state[2]

    def link(self, d, state, z):
        return state[1] - z

    def delta(self, d, state, a, b):
        """-(log of the mean of exp a and exp b) + (a + b)/2 = -log cosh((a - b)/2): what is averaged is exp z."""
        half = jnp.abs(a - b) / 2
        near = jnp.log1p(2 * jnp.sinh(jnp.minimum(half, 1) / 2) ** 2)
        return -jnp.where(half < 1, near, half + jnp.log1p(jnp.exp(-2 * half)) - math.log(2))


def linear_experiment(
    design,
    scale=1.0,
    noise: float = 0.5,
    *,
    proposal: str = "posterior",
    width: float = 1.2,
    dtype=jnp.float32,
) -> LinearExperiment:
    """A linear experiment with its exact information gain.

    Args:
      design: `[N, P]`, or a number for one outcome of one parameter.
      scale: prior standard deviations `[P]`, or one for all, > 0.
      noise: > 0.
      proposal: of PROPOSALS.
      width: of the posterior proposal, in posterior standard deviations; above 1, so that weights are bounded as they
        would be with an approximate posterior. At exactly 1 every weight is the evidence, and nothing is left to
        estimate.

    Raises: ValueError for a number out of range.
    Warns: of a prior proposal, with the share of inner samples that count.
    """
    matrix = np.atleast_2d(np.asarray(design, np.float64))
    validate.require(matrix.ndim == 2, "design", "be a matrix [N, P]", f"shape {matrix.shape}")
    validate.finite("design", matrix)
    deviations = np.asarray(scale, np.float64)
    deviations = np.full(matrix.shape[1], deviations) if deviations.ndim == 0 else deviations
    validate.shape("scale", deviations, (matrix.shape[1],))
    validate.positive("scale", deviations)
    validate.positive("noise", noise)
    validate.one_of("proposal", proposal, PROPOSALS)
    validate.require(width >= 1 and math.isfinite(width), "width", "be >= 1: weights are unbounded below", width)
    if proposal == "prior":
        share = inner_share(matrix, deviations, noise)
        warnings.warn(
            f"inner samples from the prior: at most {share:.1%} of them carry a mean of likelihoods, and the "
            "estimate has heavier tails than its standard error shows; proposal='posterior' samples by importance.",
            HeavyTailWarning,
            stacklevel=2,
        )
        gain, spread = np.zeros(matrix.T.shape), np.diag(deviations)
    else:
        covariance = np.linalg.inv(np.diag(1 / deviations**2) + matrix.T @ matrix / noise**2)
        gain, spread = covariance @ matrix.T / noise**2, width * np.linalg.cholesky(covariance)
    exact = information_gain(matrix, deviations, noise)
    numbers = (matrix, deviations, noise, gain, spread)
    return LinearExperiment(*(jnp.asarray(number, dtype) for number in numbers), exact)


def information_gain(design, scale, noise: float) -> float:
    """log det(I + A S A' / noise**2) / 2 in nats, with S the prior's variances."""
    matrix = np.atleast_2d(np.asarray(design, np.float64))
    scaled = matrix * np.broadcast_to(np.asarray(scale, np.float64), matrix.shape[1:]) / noise
    return float(np.linalg.slogdet(np.eye(len(matrix)) + scaled @ scaled.T)[1]) / 2


def inner_share(design, scale, noise: float) -> float:
    """(E w)**2 / E[w**2] of prior-sampled likelihoods w at the outcome y = 0, where it is largest: the share of inner
    samples that count. It falls as noise**P where the data determine P parameters.
    """
    matrix = np.atleast_2d(np.asarray(design, np.float64))
    scaled = matrix * np.broadcast_to(np.asarray(scale, np.float64), matrix.shape[1:]) / noise
    information = np.linalg.eigvalsh(scaled.T @ scaled)
    # For w = exp(-j z**2 / 2): E w = (1 + j)**(-1/2) and E[w**2] = (1 + 2 j)**(-1/2).
    return float(np.prod(np.sqrt(1 + 2 * information) / (1 + information)))
