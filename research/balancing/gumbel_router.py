"""The case that is known in closed form: K = 1, scores a_k + standard Gumbel noise.

The probability of expert k is softmax(a + p)_k, loads of T tokens are multinomial, f(p) = logsumexp(a + p) + gamma -
mean(p), the minimum is at p* = mean(a) - a. Loads are drawn without drawing scores.
Source: textbook extreme-value theory; `han:25` for the objective.

Letters: `T` tokens, `E` experts.
"""

import jax
import jax.numpy as jnp
import numpy as np

from research.balancing.population import Minimum
from research.balancing.score_models import ScoreModel
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key

__all__ = ["GumbelRouter", "strong_convexity_bound"]


class GumbelRouter(ScoreModel):
    """Top-1 of a + Gumbel noise."""

    location: Float[Array, " E"]  # a

    def __check_init__(self):
        checks.finite("GumbelRouter.location", self.location)

    @property
    def num_experts(self) -> int:
        return self.location.shape[-1]

    def sample(self, key: Key, num_tokens: int) -> Float[Array, "T E"]:
        noise = jax.random.gumbel(key, (num_tokens, self.num_experts), self.location.dtype)
        return self.location[None] + noise

    def sample_load(self, key: Key, bias: Float[Array, " E"], num_tokens: int, top_k: int = 1) -> Int[Array, " E"]:
        """Multinomial: each token is one uniform number among the cumulated probabilities."""
        checks.require(top_k == 1, "top_k", "be 1", top_k)
        limit = jnp.cumsum(self.selection_probability(bias)[:-1])
        drawn = jax.random.uniform(key, (num_tokens, 1), limit.dtype)
        above = jnp.sum(drawn >= limit[None], axis=0, dtype=jnp.int32)
        edges = jnp.concatenate([jnp.full(1, num_tokens, jnp.int32), above, jnp.zeros(1, jnp.int32)])
        return edges[:-1] - edges[1:]

    def selection_probability(self, bias: Float[Array, " E"]) -> Float[Array, " E"]:
        """pi = softmax(a + p)."""
        return jax.nn.softmax(self.location + bias)

    def objective(self, bias: Float[Array, " E"]) -> Float[Array, ""]:
        """f(p), in score units per token."""
        return jax.nn.logsumexp(self.location + bias) + np.euler_gamma - bias.mean()

    def excess(self, bias: Float[Array, " E"]) -> Float[Array, ""]:
        """f(p) - f(p*) >= 0, without the cancellation of the difference: logmeanexp of centred a + p."""
        centred = self.location + bias
        centred = centred - centred.mean()
        # mean(exp(c)) - 1 = mean(exp(c) - 1 - c) for centred c, a sum of small terms of one sign.
        small = jnp.mean(jnp.expm1(centred) - centred)
        return jnp.where(small < 1, jnp.log1p(small), jax.nn.logsumexp(centred) - jnp.log(self.num_experts))

    def hessian(self, bias: Float[Array, " E"]) -> Float[Array, "E E"]:
        """diag(pi) - pi pi'; also the covariance of one token's choice."""
        probability = self.selection_probability(bias)
        return jnp.diag(probability) - probability[:, None] * probability[None]

    def minimum(self) -> Minimum:
        """p* = mean(a) - a, f* = ln E + mean(a) + gamma."""
        bias = self.location.mean() - self.location
        value = jnp.log(self.num_experts) + self.location.mean() + np.euler_gamma
        return Minimum(bias, value, self.hessian(bias), jnp.int32(0), jnp.asarray(True))


def strong_convexity_bound(spread: Float[Array, ""], num_experts: int) -> Float[Array, ""]:
    """mu >= exp(-B) / E on zero-sum biases where max(a + p) - min(a + p) <= B: the least selection probability."""
    return jnp.exp(-jnp.asarray(spread)) / num_experts
