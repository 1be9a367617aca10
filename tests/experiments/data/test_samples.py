"""Breast cancer, digits and their stand-ins."""

import gzip

import numpy as np
import pytest

from experiments.data import fetch, samples


@pytest.mark.parametrize("name", samples.SHAPES)
def test_rows_have_mean_length_one_and_a_constant(name):
    data = samples.load(name, "stand_in")
    assert data.features.shape == samples.SHAPES[name]
    assert set(data.labels) == {-1.0, 1.0}
    assert np.linalg.norm(data.features, axis=1).mean() == pytest.approx(1)
    assert np.ptp(data.features[:, -1]) == 0


def test_published_classes(labelled):
    assert [(data.labels == 1).sum() for data in labelled.values()] == [357, 891]
    cancer, digits = (data.features[:, :-1] / data.features[0, -1] for data in labelled.values())
    np.testing.assert_allclose(cancer.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(cancer.std(axis=0), 1)
    assert digits.min() == 0
    assert digits.max() == pytest.approx(1)


def test_a_wheel_with_another_table_is_refused(cache, wheel, offline_pip):
    tables = b"569,30\n", gzip.compress(b"0,1\n")
    wheel(samples.SOURCE.package.replace("-", "_"), dict(zip(samples.SOURCE.members, tables, strict=True)))
    with pytest.raises(fetch.DataError, match=r"breast_cancer\.csv in scikit-learn==1\.6\.1 is not the published"):
        samples.load("digits")


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="name must be one of breast_cancer, digits, got 'iris'"):
        samples.load("iris")
    with pytest.raises(ValueError, match="source must be one of published, stand_in, got 'uci'"):
        samples.load("digits", "uci")
