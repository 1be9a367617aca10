"""Users' features and captions: what is read is what lies there, and what is wrong is told in one line."""

import numpy as np
import pytest

from experiments.data import caption_files, digit_scenes, digits, part_files
from experiments.data.fetch import DataError

SHAPE = {"grid": 4, "width": 16, "length": 4}


def scenes(count, held_out=False):
    return digit_scenes.scenes(0, held_out=held_out, count=count, **SHAPE)


def write(folder, features, captions):
    np.save(folder / "train_features.npy", features)
    np.save(folder / "train_captions.npy", captions)


def read(folder, count=2):
    return caption_files.load(folder, "train", count=count, **SHAPE, vocabulary=10)


def test_features_are_mapped_and_the_first_are_taken(tmp_path):
    features, captions = scenes(6)
    write(tmp_path, features, captions)
    for count in (6, 4):
        found = read(tmp_path, count)
        assert isinstance(found.features, np.memmap)
        np.testing.assert_array_equal(found.features, features[:count])
        np.testing.assert_array_equal(found.captions, captions[:count])
        like = caption_files.like(count, **SHAPE)
        assert [(leaf.shape, leaf.dtype) for leaf in like] == [(leaf.shape, leaf.dtype) for leaf in found]


@pytest.mark.parametrize("held_out", [False, True])
def test_a_scene_is_its_caption_s_digits_in_reading_order(held_out):
    """Every cell, put together again from the patches, is a picture of the digit that the caption has there."""
    features, captions = scenes(64, held_out)
    images, labels = digits.load()
    assert set((captions >= 0).sum(axis=1)) == {1, 2, 3, 4}
    part = slice(len(labels) * 3 // 4, None) if held_out else slice(len(labels) * 3 // 4)
    whole = (16 * images[part]).astype(np.uint8)
    known = {image.tobytes(): label for image, label in zip(whole, labels[part], strict=True)}
    for scene, caption in zip(features.astype(np.float32), captions, strict=True):
        pixels = scene.reshape(4, 4, 4, 4).transpose(0, 2, 1, 3).reshape(16, 16)
        for cell, token in enumerate(caption):
            down, right = 8 * (cell // 2), 8 * (cell % 2)
            picture = pixels[down : down + 8, right : right + 8] * 0.38 + 0.3
            sixteenths = np.round(16 * picture)
            np.testing.assert_allclose(16 * picture, sixteenths, atol=0.02)  # float16 of numbers up to 2
            if token < 0:
                assert (sixteenths == 0).all()
            else:
                assert known[sixteenths.astype(np.uint8).tobytes()] == token


def test_scenes_are_the_same_again_and_others_in_the_other_part():
    parts = [
        caption_files.load("scenes", part, count=8, **SHAPE, vocabulary=10) for part in (*part_files.PARTS, "train")
    ]
    np.testing.assert_array_equal(parts[0].features, parts[2].features)
    assert not np.array_equal(parts[0].captions, parts[1].captions)


GOOD = (np.zeros((2, 4, 4, 16), np.float16), np.array([[0, 1, 2, 3], [4, -1, -1, -1]], np.int32))


@pytest.mark.parametrize(
    ("features", "captions", "message"),
    [
        (
            GOOD[0].astype(np.float32),
            GOOD[1],
            r"features\.npy must hold float16 of shape \[n, 4, 4, 16\], found float32",
        ),
        (GOOD[0], GOOD[1].astype(np.int64), r"captions\.npy must hold int32 of shape \[n, 4\], found int64"),
        (GOOD[0], GOOD[1][:1], r"captions\.npy must have 2 rows, found 1"),
        (GOOD[0], GOOD[1] * 4, r"captions\.npy must hold tokens in -1\.\.9, found -4\.\.16"),
        (GOOD[0], GOOD[1][:, ::-1].copy(), "found 1 other rows, the first at 1"),
        (
            GOOD[0],
            np.array([[-1] * 4, [1] * 4], np.int32),
            "must have a token in every row and -1 only behind the last",
        ),
    ],
)
def test_what_is_wrong_is_told(tmp_path, features, captions, message):
    write(tmp_path, features, captions)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_scenes_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"must be c\^2, p\^2 and 8 c / p of whole c and p, got 4, 16, 5"):
        digit_scenes.scenes(0, held_out=False, count=1, grid=5, width=16, length=4)
    with pytest.raises(ValueError, match="vocabulary must be >= 10 for scenes, got 9"):
        caption_files.load("scenes", "train", count=1, **SHAPE, vocabulary=9)
