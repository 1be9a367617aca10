"""Users' pictures and other arrays by part: what is read is what lies there, and what is wrong is told in one line."""

import numpy as np
import pytest

from experiments.data import image_files, part_files
from experiments.data.fetch import DataError


def write(folder, images, labels):
    np.save(folder / "train_images.npy", images)
    np.save(folder / "train_labels.npy", labels)


def test_arrays_are_mapped(tmp_path):
    made = image_files.synthetic("train", count=6, side=4, classes=3)
    write(tmp_path, *made)
    found = image_files.load(tmp_path, "train", count=5, side=4, classes=3)
    assert isinstance(found.images, np.memmap)
    np.testing.assert_array_equal(found.images, made.images[:5])
    np.testing.assert_array_equal(found.labels, made.labels[:5])


def test_the_stand_in_has_one_pattern_per_class_in_both_parts():
    train, validation = (image_files.load("synthetic", part, count=200, side=4, classes=2) for part in part_files.PARTS)
    means = [[part.images[part.labels == label].mean(axis=0) for label in (0, 1)] for part in (train, validation)]
    # About 100 draws uniform on 128 levels: a mean's deviation is 3.7; patterns lie in 64..192.
    np.testing.assert_allclose(means[0], means[1], atol=37)
    assert np.abs(means[0][0] - means[0][1]).mean() > 20


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 4, 4, 3)), [0, 1], r"train_images\.npy must hold uint8 of shape \[n, 4, 4, 3\], found float64"),
        (np.zeros((2, 5, 4, 3), np.uint8), [0, 1], r"must hold uint8 of shape \[n, 4, 4, 3\], found uint8 \(2, 5, 4"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0], r"train_labels\.npy must have 2 rows, found 1"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0.0, 1.0], r"must hold integer of shape \[n\], found float64"),
        (np.zeros((2, 4, 4, 3), np.uint8), [0, 9], r"train_labels\.npy must hold labels in 0\.\.2, found 0\.\.9"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, images, labels, message):
    write(tmp_path, images, np.array(labels))
    with pytest.raises(DataError, match=message):
        image_files.load(tmp_path, "train", count=2, side=4, classes=3)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"validation_images\.npy cannot be read"):
        image_files.load(tmp_path, "validation", count=2, side=4, classes=3)


def test_parts_of_other_classes_are_read_whole(tmp_path):
    write(tmp_path, np.zeros((3, 4, 4, 3), np.uint8), np.array([2, 4, 3]))
    options = {"side": 4, "classes": 5, "whole": True}
    found = image_files.load(tmp_path, "train", count=3, first=2, **options)
    np.testing.assert_array_equal(found.labels, [2, 4, 3])
    with pytest.raises(DataError, match=r"train_labels\.npy must hold labels in 3\.\.4, found 2\.\.4"):
        image_files.load(tmp_path, "train", count=3, first=3, **options)
    with pytest.raises(DataError, match=r"train_images\.npy must have 2 rows and no more, found 3"):
        image_files.load(tmp_path, "train", count=2, first=2, **options)
