"""What is guaranteed, one function per theorem; tests assert them and figures draw them.

`distance` is R = |u_0 - u*| for any solution u*. Expected values are over all coins and indices.
Source: `cai:24` for the orders; the constants are derived unless a docstring says otherwise.
"""

import jax
import jax.numpy as jnp

from research.core.types import Array, Float, Int

__all__ = [
    "calls_to_accuracy", "contraction", "contraction_constant", "eag", "feg", "halpern_exact", "halpern_inexact",
    "halpern_nonexpansive", "halpern_reflected", "inner_steps", "page_calls", "page_residual", "vr_forb",
]  # fmt: skip


def page_residual(k, step_size, lipschitz, distance) -> Float[Array, "..."]:
    """sqrt(E|F(u_k) + g_k|^2) <= this for Algorithm 1 where `schedules.page_margin` <= 1: about 4 R / (eta (k + 4)).

    Args:
      k: iterations, >= 1.
      step_size: eta > 0.
      lipschitz: L on average, with eta L <= 1.
    """
    grown, mixed = step_size * (k + 2) * (k + 3) * (k + 4) / 4, (k + 2) * (k + 3) * distance
    constant = 6 * distance**2 / (step_size * (2 - step_size * lipschitz))
    return (mixed + jnp.sqrt(mixed**2 + 4 * grown * constant)) / (2 * grown)


def page_calls(probabilities: Float[Array, " K"], num_components: int, batch: int) -> Float[Array, " K"]:
    """Expected calls of Algorithm 1 after 1, ..., K iterations with the given probabilities of a full evaluation."""
    return jnp.cumsum(probabilities * num_components + (1 - probabilities) * 2 * batch)


def calls_to_accuracy(num_components, lipschitz, lipschitz_full, distance, accuracy) -> dict[str, Float[Array, "..."]]:
    """Calls until each method's bound reaches a residual, to first order: whose guarantee wins, not whose practice.

    Variance reduction wins on cocoercive inclusions where L < sqrt(n) L_F / 34 (`page` against `forward_backward`), and
    on monotone ones where L < about sqrt(n) L_F / 3 (`resolvent` against `extragradient`).

    Returns: by method: `page` at step 0.7 / L; `forward_backward`, anchored, at 2 / L_F; `resolvent` as practised; and
      `extragradient` with the fast anchor.
    """
    scale = distance / accuracy
    sampled, full = num_components**0.5 * lipschitz * scale, num_components * lipschitz_full * scale
    # Page: 4 R / (eta eps) iterations of 6 sqrt(n) calls. Forward-backward: |u - T u| / eta <= 2 R / (eta k).
    return {
        "page": 24 / 0.7 * sampled,
        "forward_backward": full,
        "resolvent": 12.5 * sampled,
        "extragradient": 4 * full,
    }


def contraction(step_size, probability, safety, modulus=1.0) -> Float[Array, "..."]:
    """theta = min(2 tau mu / (3 + s), p (1 - s) / 2) of `vr_forb`; modulus mu: of strong monotonicity."""
    return jnp.minimum(2 * step_size * modulus / (3 + safety), probability * (1 - safety) / 2)


def contraction_constant(probability, safety) -> Float[Array, "..."]:
    """C = (2 - p) / ((1 - p) (1 - s)) of `vr_forb`."""
    return (2 - probability) / ((1 - probability) * (1 - safety))


def vr_forb(num_steps, step_size, probability, safety, modulus=1.0) -> Float[Array, "..."]:
    """E|v_M - v*|^2 <= this * |v_0 - v*|^2 after M iterations of `vr_forb`: C (1 + theta)^-M.

    Args:
      num_steps: M >= 0.
      step_size: tau = s sqrt(p (1 - p)) / L.
      probability, safety: p and s, in (0, 1).
      modulus: mu > 0, F + G is mu-strongly monotone.
    """
    theta = contraction(step_size, probability, safety, modulus)
    return contraction_constant(probability, safety) * jnp.exp(-num_steps * jnp.log1p(theta))


def inner_steps(ratio, step_size, probability, safety) -> Int[Array, "..."]:
    """The least M with E|v_M - J(u)|^2 <= ratio^2 |v_0 - J(u)|^2 by `vr_forb`, int32; ratio in (0, 1)."""
    enough = jnp.log(contraction_constant(probability, safety) / ratio**2)
    return jnp.ceil(enough / jnp.log1p(contraction(step_size, probability, safety))).astype(jnp.int32)


def halpern_exact(k, distance) -> Float[Array, "..."]:
    """|u_k - J(u_k)| <= 2 R / (k + 2) with exact resolvents and the anchor's weight 1 / (k + 2)."""
    return 2 * distance / (k + 2)


def halpern_reflected(k, distance) -> Float[Array, "..."]:
    """|u_k - J(u_k)| <= R / (k + 1) with exact reflected resolvents, tight on a rotation. Source: `lieder:21`."""
    return distance / (k + 1)


def halpern_nonexpansive(k, distance) -> Float[Array, "..."]:
    """|u_k - T u_k| <= 2 R / (k + 1) for a nonexpansive T and the anchor's weight 1 / (k + 2). Source: `lieder:21`."""
    return 2 * distance / (k + 1)


def halpern_inexact(num_steps: int, distance, tolerance=0.25) -> Float[Array, " num_steps"]:
    """sqrt(E|u_k - J(u_k)|^2) <= this for k = 0, ..., num_steps - 1, if E[|v_k - J(u_k)|^2 | u_k] is small enough:
    at most (tolerance / (k + 2))^2 |u_k - J(u_k)|^2. At most C R / (k + 2), C = 2.51 for the tolerance 1/4.

    The recursion a x_k^2 = (k + 1) R x_k + S_k with a = (k + 1) (k + 2) / 2, S_0 = 0 and
    S_{k+1} = S_k + ((k + 1) (k + 2) sigma_k^2 / 2 + (k + 1) sigma_k) x_k^2, sigma_k = tolerance / (k + 2).
    Divided by the resolvent's step c it bounds the residual of F + G at J(u_k).
    """

    def body(spent, k):
        weight, pull = (k + 1) * (k + 2) / 2, (k + 1) * distance
        x = (pull + jnp.sqrt(pull**2 + 4 * weight * spent)) / (2 * weight)
        sigma = tolerance / (k + 2)
        return spent + (weight * sigma**2 + (k + 1) * sigma) * x**2, x

    dtype = jnp.result_type(float, distance)
    return jax.lax.scan(body, jnp.zeros((), dtype), jnp.arange(num_steps, dtype=dtype))[1]


def eag(k, distance, lipschitz_full) -> Float[Array, "..."]:
    """|F(u_k)| <= sqrt(260) L_F R / (k + 1) for EAG with step 1 / (8 L_F), G = 0. Source: `yoon:21`, Theorem 1."""
    return 260**0.5 * lipschitz_full * distance / (k + 1)


def feg(k, distance, lipschitz_full) -> Float[Array, "..."]:
    """|F(u_k)| <= 2 L_F R / k for FEG with step 1 / L_F, G = 0 and k >= 1. Source: `lee:21`, Theorem 4.1."""
    return 2 * lipschitz_full * distance / k
