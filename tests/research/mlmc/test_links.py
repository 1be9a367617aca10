"""Links: stable second differences against the plain formula in double precision; what float32 would lose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.mlmc import links
from research.mlmc.problems import direct_delta

LINKS = [
    links.Identity(), links.Sine(), links.Cosine(), links.Exponential(), links.Square(), links.Log(), links.Sigmoid(),
    links.Relu(), links.Maximum(jnp.float32(0.3)), links.Indicator(),
]  # fmt: skip


@pytest.mark.parametrize("link", LINKS, ids=lambda link: type(link).__name__)
def test_delta_is_the_second_difference(link, x64):
    a, b = np.random.default_rng(0).normal(size=(2, 200))
    if isinstance(link, links.Log):
        a, b = np.exp(a), np.exp(b)
    np.testing.assert_allclose(
        link.delta(jnp.asarray(a), jnp.asarray(b)), direct_delta(link, a, b), atol=2e-15, rtol=1e-12
    )


@pytest.mark.parametrize("link", LINKS[1:7], ids=lambda link: type(link).__name__)
def test_close_arguments_keep_their_digits_in_single_precision(link, x64):
    near = np.random.default_rng(1).uniform(0.5, 1.5, 100)
    a, b = (near + 2.0**-9).astype(np.float32), (near - 2.0**-9).astype(np.float32)
    exact = np.asarray(link.delta(jnp.asarray(a, jnp.float64), jnp.asarray(b, jnp.float64)))
    stable = np.asarray(link.delta(jnp.asarray(a), jnp.asarray(b)))
    plain = np.asarray(direct_delta(link, jnp.asarray(a), jnp.asarray(b)))
    scale = np.abs(exact).max()
    assert stable.dtype == np.float32
    assert np.abs(stable - exact).max() < 2e-6 * scale
    assert np.abs(plain - exact).max() > 5e-3 * scale  # rounding of numbers near 1, against a difference near 4e-6


def test_the_general_form_agrees(x64):
    a, b = np.random.default_rng(2).normal(size=(2, 100)) * 0.5
    for gap in (1.0, 1e-3):
        close = a + gap * (b - a)
        found = jax.vmap(lambda x, y: links.smooth_delta(jnp.sin, x, y))(jnp.asarray(a), jnp.asarray(close))
        exact = links.Sine().delta(a, close)
        np.testing.assert_allclose(found, exact, rtol=0, atol=2e-4 * np.abs(exact).max())


def test_largest_entries():
    link = links.MaxOver()
    a, b = jnp.asarray([1.0, 2.0, 0.0]), jnp.asarray([1.5, 1.0, 3.0])
    assert float(link.delta(a, b)) == pytest.approx(float(direct_delta(link, a, b)), abs=1e-7)
    assert float(link.delta(a, a + 1)) == 0
