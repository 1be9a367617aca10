"""The transforms of a TPU against the library's."""

import jax
import numpy as np
import pytest

from research.mlmc import fourier


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("size", [2, 6, 16])
def test_products_are_the_library_s_transforms(size):
    field = np.random.default_rng(0).normal(size=(2, size, size, size))
    modes = fourier.by_products(field)
    np.testing.assert_allclose(modes, np.fft.rfftn(field, axes=fourier.AXES), rtol=1e-11, atol=1e-10)
    np.testing.assert_allclose(fourier.inverse_by_products(modes), field, rtol=1e-11, atol=1e-12)
    # Imaginary parts that a real field's modes do not have count nowhere, as in the library.
    skew = modes + np.random.default_rng(1).normal(size=modes.shape) * 1j
    expected = np.fft.irfftn(skew, (size,) * 3, fourier.AXES)
    np.testing.assert_allclose(fourier.inverse_by_products(skew), expected, rtol=1e-10, atol=1e-11)


def test_single_precision_is_as_good_as_the_library_s():
    field = np.random.default_rng(0).normal(size=(32, 32, 32))
    exact = np.fft.rfftn(field)
    error, theirs = (
        np.abs(np.asarray(transform(field.astype(np.float32))) - exact).max() / np.abs(exact).max()
        for transform in (fourier.by_products, fourier.forward)
    )
    assert error <= max(4 * theirs, 2e-6)


def test_a_tpu_is_given_products_and_no_transform():
    lowered = jax.jit(lambda x: fourier.backward(fourier.forward(x))).trace(jax.ShapeDtypeStruct((8, 8, 8), "float32"))
    assert "fft" not in lowered.lower(lowering_platforms=("tpu",)).as_text()
    assert "fft" in lowered.lower(lowering_platforms=("cpu",)).as_text()
