"""What balancing fresh scores costs: strong convexity, regret of every schedule, and the noise that nobody can beat.

f, pi, H and S are those of `population`: the dual per token, selection probabilities, the Hessian, the covariance of
one token's selection. Bounds hold as stated; slopes and floors are leading orders, sharp as N or T grows.
Source: `han:25` for the kinds of statement; the constants are derived here.

Letters: `N` steps, `T` tokens, `E` experts, `K` experts per token, `mu` strong convexity on zero-sum biases.
"""

import jax.numpy as jnp
import numpy as np

from research.core.types import Array, Float, Int

__all__ = [
    "constant_step_regret", "density_at_zero", "effective_tokens", "expected_maximum", "gradient_bound",
    "inverse_root_regret", "inverse_step_slope", "location_family_slope", "logarithmic_regret", "margin_bins",
    "margin_density", "margin_modulus", "modulus_gumbel", "modulus_uniform", "newton_slope", "noise_floor",
    "share_deviation", "sign_step_regret", "strong_convexity", "unbalanced_regret",
]  # fmt: skip


def strong_convexity(hessian: Float[Array, "E E"]) -> Float[Array, ""]:
    """mu at a bias: the second smallest eigenvalue of the Laplacian H, > 0 where overlapping densities connect all."""
    return jnp.linalg.eigvalsh(hessian)[1]


def modulus_uniform(num_experts: int) -> float:
    """mu = E / (E - 1) at balance of scores uniform on (0, 1) up to location, for every K < E."""
    return num_experts / (num_experts - 1)


def modulus_gumbel(num_experts: int) -> float:
    """mu = 1 / E at balance of standard Gumbel scores up to location, K = 1."""
    return 1 / num_experts


def margin_density(margins: Float[Array, " T"], width: Float[Array, ""]) -> Float[Array, ""]:
    """phi_m(0): the density at zero of the margin, from counts in [0, w) and [w, 2w), continued to zero by a line.

    Args:
      margins: K-th less (K+1)-th largest biased score of each token, >= 0.
      width: w > 0, in score units; bias is of order w^2, the standard error about sqrt(2.5 phi / (T w)).
    """
    return density_at_zero(margin_bins(margins, width), width)


def margin_bins(margins: Float[Array, " T"], width: Float[Array, ""]) -> Float[Array, " 2"]:
    """Shares of the tokens whose margin lies in [0, w) and in [w, 2w)."""
    limits = width * jnp.arange(1, 3, dtype=margins.dtype)
    below = jnp.mean((margins[:, None] < limits[None]).astype(margins.dtype), axis=0)
    return jnp.stack([below[0], below[1] - below[0]])


def density_at_zero(bins: Float[Array, " 2"], width: Float[Array, ""]) -> Float[Array, ""]:
    """The line through the mean densities of two bins of width w, at zero."""
    return (3 * bins[0] - bins[1]) / (2 * width)


def margin_modulus(margins: Float[Array, " T"], num_experts: int, width: Float[Array, ""]) -> Float[Array, ""]:
    """The mean nonzero eigenvalue of H, phi_m(0) / (E - 1), measured; it is mu where all are equal (location families).

    trace H = phi_m(0) holds for every model.
    """
    return margin_density(margins, width) / (num_experts - 1)


def gradient_bound(num_experts: int, top_k: int) -> float:
    """G^2 = K (1 - K / E) >= |A / T - K / E|^2, attained where all tokens take the same experts."""
    return top_k * (1 - top_k / num_experts)


def logarithmic_regret(
    num_steps: int, modulus: float, squared_gradient: float, *, offset: float = 0.0, distance: float = 0.0
) -> float:
    """E Regret_N <= mu n_0 |p_0 - p*|^2 / 2 + G^2 / (2 mu) sum_{n <= N} 1 / (n + n_0), for "prop".

    At steps of 1 / (mu (n + n_0)), where f is mu-strongly convex on the convex region visited. Without an offset it is
    G^2 / (2 mu) (1 + ln N) at most.

    Args:
      modulus: mu > 0.
      squared_gradient: G^2, `gradient_bound`, or what one knows to bound E |A / T - K / E|^2.
      offset: n_0 >= 0, of "inv_offset".
      distance: |p_0 - p*|, Euclidean.
    """
    harmonic = float(np.sum(1 / (np.arange(1, num_steps + 1) + offset)))
    return modulus * offset * distance**2 / 2 + squared_gradient / (2 * modulus) * harmonic


def inverse_step_slope(
    hessian: Float[Array, "E E"], covariance: Float[Array, "E E"], tokens: int, scale: float | Float[Array, ""]
) -> Float[Array, ""]:
    """d E Regret_N / d ln N -> tr(H X) / 2 for "prop" at c / n, c > 1 / (2 mu).

    X solves (c H - 1/2) X + X (c H - 1/2) = c^2 S / T on zero-sum biases: n Cov(p_n) in the limit.

    Args:
      hessian, covariance: H and S at balance.
      scale: c, in score units; NaN where c <= 1 / (2 mu), where regret grows as a power of N.
    """
    values, vectors = jnp.linalg.eigh(hessian)
    values, vectors = values[1:], vectors[:, 1:]  # the first is (1, ..., 1)
    noise = jnp.diagonal(vectors.T @ covariance @ vectors)
    contraction = 2 * scale * values - 1
    variance = scale**2 * noise / tokens / contraction
    return jnp.where(contraction.min() > 0, 0.5 * jnp.sum(values * variance), jnp.nan)


def location_family_slope(num_experts: int, top_k: int, modulus: float, tokens: int, scale: float = 1.0) -> float:
    """The same in a location family at c = scale / mu: K (1 - K / E) / (2 mu T) times scale^2 / (2 scale - 1)."""
    return gradient_bound(num_experts, top_k) / (2 * modulus * tokens) * scale**2 / (2 * scale - 1)


def newton_slope(hessian: Float[Array, "E E"], covariance: Float[Array, "E E"], tokens: int) -> Float[Array, ""]:
    """d E Regret_N / d ln N -> tr(H^+ S) / (2 T) for Newton's steps H^+ / n: `inverse_step_slope` without a scale."""
    values, vectors = jnp.linalg.eigh(hessian)
    noise = jnp.diagonal(vectors[:, 1:].T @ covariance @ vectors[:, 1:])
    return 0.5 * jnp.sum(noise / values[1:]) / tokens


def constant_step_regret(step_size: float, num_experts: int, top_k: int, tokens: int) -> float:
    """Regret per step of "prop" at constant eps, once settled: eps K (1 - K / E) / (4 T), for eps mu << 1."""
    return step_size * gradient_bound(num_experts, top_k) / (4 * tokens)


def inverse_root_regret(step_size: float, num_experts: int, top_k: int, tokens: int, steps: Array) -> Array:
    """Regret_N of "prop" at eps / sqrt(n) up to what the start costs: eps K (1 - K / E) sqrt(N) / (2 T)."""
    return 2 * constant_step_regret(step_size, num_experts, top_k, tokens) * jnp.sqrt(jnp.asarray(steps, float))


def sign_step_regret(step_size: float, num_experts: int, top_k: int, tokens: int) -> float:
    """Regret per step of the sign rule at constant u in a location family, once settled, where u << noise / mu.

    u sqrt(pi / 2) / 4 * sigma tr C. Load shares have standard deviation sigma = sqrt(K / E (1 - K / E) / T) and pairs
    of them correlation -1 / (E - 1); their signs have correlation rho = -(2 / pi) arcsin(1 / (E - 1)), and covariance C
    with trace E - (1 + (E - 1) rho) on zero-sum biases. At u / sqrt(n) regret is 2 sqrt(N) times this.
    """
    sigma = share_deviation(num_experts, top_k, tokens)
    rho = -2 / np.pi * np.arcsin(1 / (num_experts - 1))
    return float(step_size * np.sqrt(np.pi / 2) / 4 * sigma * (num_experts - (1 + (num_experts - 1) * rho)))


def share_deviation(num_experts: int, top_k: int, tokens: int) -> float:
    """sigma = sqrt(K / E (1 - K / E) / T): standard deviation of a load share A_k / T at perfect balance."""
    share = top_k / num_experts
    return float(np.sqrt(share * (1 - share) / tokens))


def unbalanced_regret(start: float, optimum: float, steps: Array) -> Array:
    """Regret_N of a bias that never moves: N (f(p_0) - f(p*))."""
    return jnp.asarray(steps, float) * (start - optimum)


def expected_maximum(num_experts: int) -> float:
    """m_E: the mean of the largest of E independent standard normals; 1.424, 1.766, 2.344 for E = 8, 16, 64."""
    from scipy import special

    x = np.linspace(-9, 9, 2001)
    density = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
    return float(np.trapezoid(num_experts * x * density * special.ndtr(x) ** (num_experts - 1), x))


def noise_floor(tokens: float | Array, num_experts: int, top_k: int) -> float | Array:
    """E MaxVio of one batch at perfect balance: m_E sqrt((1 - K / E) E / ((E - 1) L)), L = K T / E.

    No rule that cannot see the batch it routes is below. Independent tokens; else T is `effective_tokens`.
    """
    load = top_k * tokens / num_experts
    spread = (1 - top_k / num_experts) * num_experts / ((num_experts - 1) * load)
    return expected_maximum(num_experts) * spread**0.5


def effective_tokens(loads: Int[Array, "N E"], top_k: int) -> Float[Array, ""]:
    """T_eff = K (1 - K / E) / trace Cov(A / T): of how many independent tokens batches vary as much as these.

    Args:
      loads: of N >= 2 batches of one size under biases that hardly move.
    """
    share = top_k * loads / loads.sum(axis=1, keepdims=True)
    variation = jnp.sum(jnp.var(share, axis=0, ddof=1))
    return gradient_bound(loads.shape[1], top_k) / variation
