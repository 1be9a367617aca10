"""Flat LCDM background, growth of structure to second order, and the smooth linear power spectrum.

Everything is traceable and differentiable in the parameters; the integrals are Gauss-Legendre rules with fixed nodes
after a substitution that makes the integrand smooth, so float64 gives about twelve digits. Lengths are in Mpc/h, wave
numbers in h/Mpc, times in 1/H_0; `a` is the scale factor, 1 today. Radiation and neutrino masses are left out.
Source: growth in closed form `heath:77`; second order `bouchet:95`; transfer function without wiggles `eisenstein:98`,
equations 26 and 28 to 31. Default parameters: the fiducial ones of `chartier:21`.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float

__all__ = [
    "Cosmology", "expansion", "growth", "growth_rate", "integral", "linear_power", "matter_fraction", "second_growth",
    "second_growth_rate", "transfer",
]  # fmt: skip

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2  # on [0, 1]
_CMB = 2.7255 / 2.7  # temperature in the units of the transfer function


class Cosmology(eqx.Module):
    """Parameters of flat LCDM; all traced."""

    omega_m: float | Float[Array, ""] = 0.3175  # matter over critical density today, in (0, 1]
    omega_b: float | Float[Array, ""] = 0.049  # baryons, in (0, omega_m]
    hubble: float | Float[Array, ""] = 0.6711  # H_0 in 100 km/s/Mpc
    tilt: float | Float[Array, ""] = 0.9624  # n_s
    sigma8: float | Float[Array, ""] = 0.834  # rms of the linear density today in spheres of 8 Mpc/h

    def __check_init__(self):
        for name in ("omega_m", "omega_b", "hubble", "sigma8"):
            checks.positive(f"Cosmology.{name}", getattr(self, name))
        checks.in_range("Cosmology.omega_m", self.omega_m, 0, 1)
        if checks.is_concrete(self.omega_m):
            checks.in_range("Cosmology.omega_b", self.omega_b, 0, float(self.omega_m))
        checks.finite("Cosmology.tilt", self.tilt)


def expansion(cosmology: Cosmology, a: Float[Array, "..."]) -> Float[Array, "..."]:
    """E(a) = H(a) / H_0 = sqrt(omega_m / a^3 + 1 - omega_m)."""
    return jnp.sqrt(cosmology.omega_m / a**3 + (1 - cosmology.omega_m))


def matter_fraction(cosmology: Cosmology, a: Float[Array, "..."]) -> Float[Array, "..."]:
    """omega_m(a), in (0, 1]."""
    return cosmology.omega_m / (cosmology.omega_m + (1 - cosmology.omega_m) * a**3)


def _unnormalised(cosmology: Cosmology, a: Float[Array, "..."]) -> Float[Array, "..."]:
    """5/2 omega_m E(a) int_0^a dx / (x E(x))^3, which is a where matter dominates."""
    t = jnp.asarray(_NODES, a.dtype)
    x = a[..., None] * t.reshape((1,) * a.ndim + (-1,)) ** 2  # the integrand starts as x^(3/2): even in t after this
    x_e = jnp.sqrt(cosmology.omega_m / x + (1 - cosmology.omega_m) * x**2)
    weights = jnp.asarray(_WEIGHTS * 2 * _NODES, a.dtype)
    integral_of_a = a * jnp.sum(weights.reshape((1,) * a.ndim + (-1,)) / x_e**3, axis=-1)
    return 2.5 * cosmology.omega_m * expansion(cosmology, a) * integral_of_a


def growth(cosmology: Cosmology, a: float | Float[Array, "..."]) -> Float[Array, "..."]:
    """Linear growth D(a), 1 today."""
    a = jnp.asarray(a)
    return _unnormalised(cosmology, a) / _unnormalised(cosmology, jnp.ones((), a.dtype))


def growth_rate(cosmology: Cosmology, a: float | Float[Array, "..."]) -> Float[Array, "..."]:
    """f(a) = d ln D / d ln a, from the closed form of D."""
    a = jnp.asarray(a)
    fraction = matter_fraction(cosmology, a)
    return -1.5 * fraction + 2.5 * fraction * a / _unnormalised(cosmology, a)


def second_growth(cosmology: Cosmology, a: float | Float[Array, "..."]) -> Float[Array, "..."]:
    """D_2(a) = -3/7 D^2 omega_m(a)^(-1/143): x = q + D psi_1 + D_2 psi_2. Within 2e-4 of the exact solution."""
    return -3 / 7 * growth(cosmology, a) ** 2 * matter_fraction(cosmology, jnp.asarray(a)) ** (-1 / 143)


def second_growth_rate(cosmology: Cosmology, a: float | Float[Array, "..."]) -> Float[Array, "..."]:
    """d ln D_2 / d ln a, the derivative of `second_growth`. Within 3e-4 of the exact solution."""
    return 2 * growth_rate(cosmology, a) + 3 / 143 * (1 - matter_fraction(cosmology, jnp.asarray(a)))


def integral(cosmology: Cosmology, low: Float[Array, ""], high: Float[Array, ""], power: int) -> Float[Array, ""]:
    """int_low^high da / (a^power E(a)): what a free drift (power 3) and a kick (power 2) take (`quinn:97`)."""
    low, high = jnp.asarray(low), jnp.asarray(high)
    a = low + (high - low) * jnp.asarray(_NODES, low.dtype)
    return (high - low) * jnp.sum(jnp.asarray(_WEIGHTS, low.dtype) / (a**power * expansion(cosmology, a)))


def transfer(cosmology: Cosmology, k: Float[Array, "..."]) -> Float[Array, "..."]:
    """Transfer function without baryon wiggles, 1 as k -> 0; k in h/Mpc, >= 0. Source: `eisenstein:98`."""
    matter, baryons = (omega * cosmology.hubble**2 for omega in (cosmology.omega_m, cosmology.omega_b))
    share = baryons / matter
    horizon = 44.5 * jnp.log(9.83 / matter) / jnp.sqrt(1 + 10 * baryons**0.75)  # Mpc
    alpha = 1 - 0.328 * jnp.log(431 * matter) * share + 0.38 * jnp.log(22.3 * matter) * share**2
    shape = (
        cosmology.omega_m
        * cosmology.hubble
        * (alpha + (1 - alpha) / (1 + (0.43 * k * cosmology.hubble * horizon) ** 4))
    )
    q = k * _CMB**2 / shape
    log = jnp.log(2 * np.e + 1.8 * q)
    return log / (log + (14.2 + 731 / (1 + 62.5 * q)) * q**2)


def _sphere(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Fourier transform of a ball, 3 (sin x - x cos x) / x^3; the series where the difference cancels."""
    safe = jnp.where(x < 0.3, 1, x)
    return jnp.where(x < 0.3, 1 - x**2 / 10 + x**4 / 280, 3 * (jnp.sin(safe) - safe * jnp.cos(safe)) / safe**3)


def linear_power(cosmology: Cosmology, k: Float[Array, "..."]) -> Float[Array, "..."]:
    """Linear matter power spectrum today, (Mpc/h)^3, scaled to sigma8; 0 at k = 0."""
    k = jnp.asarray(k)
    log_k = jnp.linspace(np.log(1e-5), np.log(1e2), 1024, dtype=k.dtype)  # sigma8 to 1e-6
    at = jnp.exp(log_k)
    shape = at ** (cosmology.tilt + 3) * transfer(cosmology, at) ** 2 * _sphere(8 * at) ** 2
    variance = jnp.trapezoid(shape, dx=(np.log(1e2) - np.log(1e-5)) / 1023) / (2 * np.pi**2)
    safe = jnp.where(k > 0, k, 1)
    spectrum = safe**cosmology.tilt * transfer(cosmology, safe) ** 2 * cosmology.sigma8**2 / variance
    return jnp.where(k > 0, spectrum, 0)
