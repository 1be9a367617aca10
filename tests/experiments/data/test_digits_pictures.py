"""Digits and photographs: sizes, ranges, and movements against SciPy's."""

import numpy as np
import pytest

from experiments.data import digits, pictures


def test_sizes_and_ranges():
    found = digits.load()
    assert found.images.shape == (digits.NUM, 8, 8)
    assert (found.images.min(), found.images.max()) == (0, 1)
    assert set(found.labels) == set(range(digits.CLASSES))
    photographs = pictures.load()
    assert photographs.shape == (len(pictures.NAMES), pictures.SIDE, pictures.SIDE)
    assert photographs.dtype == np.float32
    assert photographs.min() >= 0
    assert photographs.max() <= 1
    assert (photographs.std(axis=(1, 2)) > 0.04).all()  # a picture in every one of them; the moon is the faintest


def test_enlarging_is_linear_interpolation():
    """Exact for pictures that are linear away from the edges; constants stay; twice keeps the mean of the middle."""
    ramp = np.arange(8.0)[None, :, None] + 10 * np.arange(8.0)[None, None, :]
    at = np.clip((np.arange(20) + 0.5) * 8 / 20 - 0.5, 0, 7)
    np.testing.assert_allclose(digits.enlarge(ramp, 20)[0], at[:, None] + 10 * at[None], rtol=1e-12)
    np.testing.assert_array_equal(digits.enlarge(np.full((1, 8, 8), 3.0), 13), np.full((1, 13, 13), 3.0))
    canvas = digits.on_canvas(digits.load().images[:3])
    assert canvas.shape == (3, 24, 24)
    assert (canvas[:, :4] == 0).all()
    assert (canvas[:, :, 20:] == 0).all()


@pytest.mark.parametrize("change", [{}, {"shift": 2}, {"angle": 30}, {"scale": 0.8}, {"scale": 1.2}])
def test_movements_are_those_of_scipy(change):
    from scipy import ndimage

    images = digits.on_canvas(digits.load().images[:4])
    turn, scale, shift = np.deg2rad(change.get("angle", 0)), change.get("scale", 1), change.get("shift", 0)
    back = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale
    offset = 11.5 - back @ np.full(2, 11.5 + shift)
    expected = [ndimage.affine_transform(one, back, offset, order=1, mode="constant") for one in images]
    np.testing.assert_allclose(digits.moved(images, **change), expected, atol=1e-6)
    if shift:
        np.testing.assert_allclose(digits.moved(images, **change)[:, 2:, 2:], images[:, :-2, :-2], atol=1e-6)
