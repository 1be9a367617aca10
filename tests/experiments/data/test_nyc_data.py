"""New York trips and their stand-in."""

import numpy as np
import pytest

from experiments.data import fetch, nyc


def as_csv(table):
    rows = [",".join(map(str, row)) for row in zip(*(column.tolist() for column in table.values()), strict=True)]
    return "\n".join([",".join(table), *rows]).encode() + b"\n"


def shapes(data):
    return [np.shape(part) for part in data]


def test_counts_are_those_of_the_zones_with_a_lot():
    data = nyc.load("stand_in")
    assert shapes(data) == [(len(nyc.WEEKDAYS), nyc.QUARTERS, nyc.NUM_ZONES), (nyc.NUM_ZONES, 2), (nyc.NUM_ZONES,)]
    assert (np.diff(data.zones) > 0).all()
    trips, lots = nyc.columns("stand_in")
    kept = np.isin(trips["puzone"], lots["zone"])
    assert 0 < kept.sum() < len(kept)
    assert data.counts.sum() == trips["n_trips"][kept].sum()
    here = (trips["puzone"] == data.zones[3]) & (trips["dow"] == 2) & (trips["t_15min"] == 40)
    assert data.counts[2, 40, 3] == trips["n_trips"][here].sum()
    np.testing.assert_allclose(data.positions[3, 0], lots["x"][lots["zone"] == data.zones[3]].mean())


def test_published_counts(trips):
    assert shapes(trips) == shapes(nyc.load("stand_in"))
    assert trips.counts.sum(axis=(1, 2)).tolist() == [16_321_157, 20_199_066, 21_006_814, 21_630_221, 22_970_242]
    assert trips.positions.min(axis=0) == pytest.approx([583.0897, 4506.5614], abs=1e-4)
    assert trips.positions.max(axis=0) == pytest.approx([591.7135, 4525.0304], abs=1e-4)


def test_a_wheel_with_other_trips_is_refused(cache, wheel, offline_pip):
    trips, lots = nyc.columns("stand_in")
    small = {name: column[:20] for name, column in trips.items()}
    wheel(nyc.SOURCE.package, dict(zip(nyc.SOURCE.members, (as_csv(small), as_csv(lots)), strict=True)))
    with pytest.raises(fetch.DataError, match=r"trips\.csv in pyhailing==0\.0\.9 is not the published trips\.csv"):
        nyc.load()


def test_a_wheel_without_the_tables_names_them(cache, wheel, offline_pip):
    wheel(nyc.SOURCE.package, {"pyhailing/data/trips.csv": b""})
    with pytest.raises(fetch.DataError, match=r"does not hold .*pyhailing/data/lots\.csv"):
        nyc.load()


def test_another_header_is_refused():
    with pytest.raises(fetch.DataError, match="must have the header id,x,y,zone, got id,x,y"):
        nyc._table(b"id,x,y\n1,2,3\n", nyc._LOTS, np.float64)


def test_unknown_sources_are_refused():
    with pytest.raises(ValueError, match="source must be one of trips, stand_in, got 'taxis'"):
        nyc.load("taxis")
