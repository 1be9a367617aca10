"""Choice models as value oracles: what an assortment earns, batched over assortments given as masks.

Offered a set S, a customer buys at most one item of it. `revenue` is the expected revenue R(S), which is neither
monotone nor submodular: a cheap item takes buyers from a dear one. `value` is f(S) = max over X in S of R(X), monotone
by definition; under a constraint that permits removing items both have the same maximum, and `offer` gives the X.

Source: `talluri:04` for the multinomial logit and its optima, sets of dearest items; `blanchet:16` for the Markov
chain model and its optimum by stopping.

Shape letters: `N` items, `M` segments of a mixture. Masks are `[..., N]`, boolean; all methods keep the leading axes.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int

__all__ = ["MarkovChain", "Mixture", "MultinomialLogit", "by_price"]


def by_price(prices: Float[Array, " N"]) -> Int[Array, " N"]:
    """Items from dear to cheap, ties by index: the order in which f of `MultinomialLogit` and `Mixture` is submodular.

    For one segment f(S) is the z with z v_0 = sum over S of v_i max(p_i - z, 0). Let B be part of A, and C cheaper than
    all of A. If C adds anything to f(A), its buyers' z lies below all of A's prices, there the left side minus A's part
    has the slope v_0 + v(A) >= v_0 + v(B), and C's part falls in z >= f(A) >= f(B): A gains no more from C than B does.
    """
    return jnp.argsort(-jnp.asarray(prices), stable=True).astype(jnp.int32)


class MultinomialLogit(eqx.Module):
    """Item i of S is bought with probability weights_i / (outside + sum of the weights of S)."""

    prices: Float[Array, " N"]  # >= 0, in money
    weights: Float[Array, " N"]  # > 0, exp(utility)
    outside: Float[Array, ""]  # > 0, the weight of buying nothing

    @property
    def num_items(self) -> int:
        return self.prices.shape[0]

    def revenue(self, mask: Bool[Array, "... N"]) -> Float[Array, "..."]:
        """R(S)."""

        def one(offered):
            bought = jnp.where(offered, self.weights, 0)
            return jnp.sum(bought * self.prices) / (self.outside + jnp.sum(bought))

        return jnp.vectorize(one, signature="(n)->()")(mask)

    def value(self, mask: Bool[Array, "... N"]) -> Float[Array, "..."]:
        """f(S): the best of S's own sets of dearest items."""
        order = by_price(self.prices)
        prices, weights = self.prices[order], self.weights[order]

        def one(kept):
            bought = jnp.where(kept, weights, 0)
            return jnp.max(jnp.cumsum(bought * prices) / (self.outside + jnp.cumsum(bought)))

        return jnp.vectorize(one, signature="(n)->()")(mask[..., order])

    def offer(self, mask: Bool[Array, "... N"]) -> Bool[Array, "... N"]:
        """The subset that earns f(S): items whose price is at least f(S)."""
        return jnp.vectorize(lambda m: m & (self.prices >= self.value(m)), signature="(n)->(n)")(mask)

    def validate(self):
        """Raises ValueError naming the field, the index and the value; traced arrays are skipped."""
        _validate_prices(self.prices)
        checks.shape("weights", self.weights, self.prices.shape)
        checks.positive("weights", self.weights)
        checks.shape("outside", self.outside, ())
        checks.positive("outside", self.outside)


def _solve_dominant(matrix, right):
    """x with `matrix [N, N] x = right [N]`: Gauss-Jordan elimination, no pivoting.

    Rows of I - transition are diagonally dominant and stay so under elimination, so no pivot is small. Written out
    because several LAPACK batches in one program can wait for each other for ever on a CPU with few threads.
    """
    rows = jnp.arange(right.shape[0])

    def eliminate(k, augmented):
        pivot = augmented[k] / augmented[k, k]
        column = jnp.where(rows == k, 0, augmented[:, k])
        return jnp.where((rows == k)[:, None], pivot[None, :], augmented - column[:, None] * pivot[None, :])

    return jax.lax.fori_loop(0, right.shape[0], eliminate, jnp.concatenate([matrix, right[:, None]], axis=1))[:, -1]


class MarkovChain(eqx.Module):
    """A customer wants item i first with probability arrival_i; not offered it, she goes on to j with transition_ij.

    What is missing from a sum of 1 is the probability that she leaves. No order is claimed to make f submodular here:
    `submodular_orders` measures it.
    """

    prices: Float[Array, " N"]  # >= 0, in money
    arrival: Float[Array, " N"]  # >= 0, sums to at most 1
    transition: Float[Array, "N N"]  # >= 0, rows sum to less than 1, so that everybody leaves at last

    @property
    def num_items(self) -> int:
        return self.prices.shape[0]

    def _worth(self, mask):
        """`[N]`: expected revenue from a customer who wants item i now, when `mask [N]` is offered."""
        moves = jnp.where(mask[:, None], 0, self.transition)
        return _solve_dominant(jnp.eye(self.num_items, dtype=moves.dtype) - moves, jnp.where(mask, self.prices, 0))

    def _stop(self, mask):
        """The best subset of `mask [N]` and its worth, by policy iteration: the set shrinks, N times at most."""

        def improve(carry):
            chosen, worth, _ = carry
            wait = jnp.matmul(self.transition, worth, precision=jax.lax.Precision.HIGHEST)
            kept = chosen & (self.prices >= wait)
            return kept, self._worth(kept), jnp.any(kept != chosen)

        chosen, worth, _ = jax.lax.while_loop(lambda carry: carry[2], improve, (mask, self._worth(mask), True))
        return chosen, worth

    def revenue(self, mask: Bool[Array, "... N"]) -> Float[Array, "..."]:
        """R(S), one linear solve."""
        return jnp.vectorize(lambda m: jnp.sum(self.arrival * self._worth(m)), signature="(n)->()")(mask)

    def value(self, mask: Bool[Array, "... N"]) -> Float[Array, "..."]:
        """f(S): the optimal stopping value when stopping is allowed in S only."""
        return jnp.vectorize(lambda m: jnp.sum(self.arrival * self._stop(m)[1]), signature="(n)->()")(mask)

    def offer(self, mask: Bool[Array, "... N"]) -> Bool[Array, "... N"]:
        """The subset that earns f(S): where selling is worth no less than waiting."""
        return jnp.vectorize(lambda m: self._stop(m)[0], signature="(n)->(n)")(mask)

    def validate(self):
        """Raises ValueError naming the field, the index and the value; traced arrays are skipped."""
        _validate_prices(self.prices)
        checks.shape("arrival", self.arrival, self.prices.shape)
        checks.in_range("arrival", self.arrival, 0.0, 1.0)
        checks.shape("transition", self.transition, (self.num_items, self.num_items))
        checks.in_range("transition", self.transition, 0.0, 1.0)
        if checks.is_concrete(self.arrival, self.transition):
            checks.in_range("sum of arrival", self.arrival.sum(), 0.0, 1.0 + 1e-6)
            checks.in_range("rows of transition summed", self.transition.sum(axis=1), 0.0, 1.0 - 1e-6)


class Mixture(eqx.Module):
    """Segments with logit weights of their own and common prices.

    `revenue` shows the same assortment to everybody. `value` is the customised problem: one stock S, from which every
    segment is shown its best part; as a mean of the segments' f it is submodular in `by_price` order. It is at least
    max over X in S of R(X), which for mixtures no formula gives.
    """

    prices: Float[Array, " N"]  # >= 0, in money
    weights: Float[Array, "M N"]  # > 0
    outside: Float[Array, " M"]  # > 0
    shares: Float[Array, " M"]  # > 0, sum to 1

    @property
    def num_items(self) -> int:
        return self.prices.shape[0]

    def _segments(self, method, mask):
        def one(weights, outside):
            return getattr(MultinomialLogit(self.prices, weights, outside), method)(mask)

        return jax.vmap(one)(self.weights, self.outside)

    def revenue(self, mask: Bool[Array, "... N"]) -> Float[Array, "..."]:
        """R(S), the mean of the segments' revenues from one and the same S."""
        return jnp.tensordot(self.shares, self._segments("revenue", mask), 1, precision=jax.lax.Precision.HIGHEST)

    def value(self, mask: Bool[Array, "... N"]) -> Float[Array, "..."]:
        """f(S), the mean of the segments' own f."""
        return jnp.tensordot(self.shares, self._segments("value", mask), 1, precision=jax.lax.Precision.HIGHEST)

    def offer(self, mask: Bool[Array, "... N"]) -> Bool[Array, "M ... N"]:
        """What each segment is shown."""
        return self._segments("offer", mask)

    def validate(self):
        """Raises ValueError naming the field, the index and the value; traced arrays are skipped."""
        _validate_prices(self.prices)
        checks.shape("weights", self.weights, (None, self.num_items))
        checks.positive("weights", self.weights)
        checks.shape("outside", self.outside, self.weights.shape[:1])
        checks.positive("outside", self.outside)
        checks.shape("shares", self.shares, self.weights.shape[:1])
        checks.probability_vector("shares", self.shares)


def _validate_prices(prices):
    checks.shape("prices", prices, (None,))
    checks.at_least("number of items", prices.shape[0], 1)
    checks.finite("prices", prices)
    checks.in_range("prices", prices, 0.0, float("inf"))
