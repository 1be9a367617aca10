"""Distributionally robust logistic regression: a model against the worst weights of the samples.

min over w, max over q in the simplex: sum_i q_i log(1 + exp(-y_i x_i'w)) - (rho n / 2) |q - 1/n|^2 + (mu / 2) |w|^2.

Both quadratics go into G, whose prox has a closed form, and only the coupling is sampled: sampled quadratics would make
L sqrt(n) times larger. The weights are rescaled to s = nu q, which balances the two blocks. With z_i = y_i x_i and
m_i = z_i'w,

    F(w, s) = (-(1/nu) sum_i s_i sigmoid(-m_i) z_i, -(1/nu) log(1 + exp(-m_i))).

A point is the pair (w `[D]`, s `[n]`), s in nu times the simplex. Class B, and strongly monotone through G.
Source: the formulation and its constants are ours, tested; `namkoong:17` for the problem.
"""

import jax
import jax.numpy as jnp

from research.core import validate
from research.core.types import Array, Float
from research.halpern import games, projections
from research.halpern.inclusions import Inclusion, Point

__all__ = ["RobustLogistic", "robust_logistic", "robust_objective", "uniform_start"]


class RobustLogistic(Inclusion):
    """Component i holds the model's and its own weight's share of sample i, drawn uniformly; by `robust_logistic`."""

    signed: Float[Array, "n D"]  # z_i = y_i x_i
    scale: Float[Array, ""]  # nu
    penalty: Float[Array, ""]  # mu
    spread: Float[Array, ""]  # rho
    lipschitz: Float[Array, ""]  # at the uniform weights, see `robust_logistic`
    lipschitz_full: Float[Array, ""]

    @property
    def num_components(self) -> int:
        return self.signed.shape[0]

    @property
    def num_indices(self) -> int:
        return 1

    @property
    def cocoercive(self) -> bool:
        return False

    @property
    def strong_monotonicity(self) -> Float[Array, ""]:
        """The modulus of G: the smaller of mu and rho n / nu^2."""
        return jnp.minimum(self.penalty, self.curvature)

    @property
    def curvature(self) -> Float[Array, ""]:
        """rho n / nu^2, of the quadratic in s."""
        return self.spread * self.num_components / self.scale**2

    def full(self, u):
        w, s = u
        margin = jnp.matmul(self.signed, w, precision=jax.lax.Precision.HIGHEST)
        pull = s * jax.nn.sigmoid(-margin) / self.scale
        return -jnp.matmul(pull, self.signed, precision=jax.lax.Precision.HIGHEST), -_loss(margin) / self.scale

    def difference(self, draws, new, old):
        index = draws[:, 0]
        rows = self.signed[index]
        margins = jnp.matmul(rows, jnp.stack([new[0], old[0]], axis=1), precision=jax.lax.Precision.HIGHEST)
        weights = jnp.stack([new[1][index], old[1][index]], axis=1)
        share = self.num_components / (self.scale * index.shape[0])
        pull = weights * jax.nn.sigmoid(-margins)
        in_w = -jnp.matmul(share * (pull[:, 0] - pull[:, 1]), rows, precision=jax.lax.Precision.HIGHEST)
        loss = _loss(margins)
        return in_w, jnp.zeros_like(new[1]).at[index].add(-share * (loss[:, 0] - loss[:, 1]))

    def sample(self, key, shape):
        return jax.random.randint(key, (*shape, 1), 0, self.num_components, jnp.int32)

    def prox(self, v, step_size):
        w, s = v
        stiffness = step_size * self.curvature
        drawn = (s + stiffness * self.scale / self.num_components) / (1 + stiffness)
        return w / (1 + step_size * self.penalty), projections.simplex(drawn, self.scale)


def _loss(margin):
    return jnp.logaddexp(0, -margin)


def robust_logistic(
    features: Float[Array, "n D"],
    labels: Float[Array, "n"],
    *,
    scale: float = 50.0,
    penalty: float = 0.01,
    spread: float = 1.0,
) -> RobustLogistic:
    """The problem of given data.

    L_F = |Z| / nu + max |z|^2 / 4 bounds F's constant wherever s lies in nu times the simplex. L bounds the average
    over draws between two points of which one has uniform weights s; in general it is

        sqrt(n) |Z| / nu + sqrt(n) max |z|^2 / 4 * |s / nu|,   |s / nu| = 1 / sqrt(n) at the uniform weights,

    and grows with the concentration of the weights: at a vertex of the simplex its second part is sqrt(n) times larger.
    The quadratic in s keeps the weights of a solution spread out, so that the smaller constant is the one to step by.

    Args:
      features: x_i, finite.
      labels: y_i in {-1, 1}.
      scale: nu > 0.
      penalty: mu > 0.
      spread: rho > 0.

    Raises ValueError for arrays that do not match or are not finite, other labels, and parameters <= 0.
    """
    features = jnp.asarray(features)
    labels = jnp.asarray(labels, features.dtype)
    validate.shape("features", features, (None, None))
    validate.require(min(features.shape) >= 1, "features", "have a row and a column", features.shape)
    validate.finite("features", features)
    validate.shape("labels", labels, features.shape[:1])
    if validate.is_concrete(labels):
        validate.require(bool(jnp.all(jnp.abs(labels) == 1)), "labels", "be -1 or 1", labels)
    for name, value in (("scale", scale), ("penalty", penalty), ("spread", spread)):
        validate.positive(name, value)
    signed = labels[:, None] * features
    scale, penalty, spread = (jnp.asarray(value, features.dtype) for value in (scale, penalty, spread))
    norm = games.spectral_norm(signed)
    bend = jnp.max(jnp.sum(signed**2, axis=1)) / 4
    lipschitz = features.shape[0] ** 0.5 * norm / scale + bend
    validate.positive("features' spectral norm", norm)
    return RobustLogistic(signed, scale, penalty, spread, lipschitz, norm / scale + bend)


def uniform_start(inclusion: RobustLogistic) -> Point:
    """The zero model and uniform weights."""
    n, dim = inclusion.signed.shape
    return jnp.zeros(dim, inclusion.signed.dtype), jnp.full(n, inclusion.scale / n, inclusion.signed.dtype)


def robust_objective(inclusion: RobustLogistic, u: Point) -> Float[Array, ""]:
    """The saddle function at (w, s / nu), in nats."""
    w, s = u
    n = inclusion.num_components
    weights = s / inclusion.scale
    margin = jnp.matmul(inclusion.signed, w, precision=jax.lax.Precision.HIGHEST)
    penalties = inclusion.penalty * jnp.vdot(w, w) - inclusion.spread * n * jnp.sum((weights - 1 / n) ** 2)
    return jnp.vdot(weights, _loss(margin)) + penalties / 2
