"""New York taxi and ride-hailing trips of business days in 2018: pickups by weekday, quarter of an hour and zone.

Source: `pyhailing` 0.0.9 (Nicholas Kullman), the environment of the DIMACS challenge's dynamic ride hailing, made from
the trip records of the city's Taxi and Limousine Commission; Apache License 2.0. Only two of its tables are read:
`trips.csv`, counts by weekday, quarter, pickup zone and drop-off zone, and `lots.csv`, 302 parking lots with their
coordinates in kilometres and their zone. Of 110.9 million trips 102.1 begin in a zone with a lot; the others are left
out, since their zones have no position.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.data import fetch

__all__ = ["NUM_ZONES", "QUARTERS", "SOURCE", "SOURCES", "WEEKDAYS", "Pickups", "columns", "load"]

SOURCES = ("trips", "stand_in")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
QUARTERS = 96  # of a day
NUM_ZONES = 46  # with a lot

_TRIPS = ("dow", "t_15min", "puzone", "dozone", "n_trips")
_LOTS = ("id", "x", "y", "zone")


class Pickups(NamedTuple):
    """How many trips begin when and where.

    Attributes:
      counts: `[5, 96, 46]` trips, by weekday, quarter of an hour from midnight, and zone.
      positions: `[46, 2]` km, the mean of the zone's lots.
      zones: `[46]`, the city's numbers of the zones, increasing.
    """

    counts: np.ndarray
    positions: np.ndarray
    zones: np.ndarray


def load(source: str = "trips", data_dir: str | None = None) -> Pickups:
    """Pickups in the zones that have a lot.

    Args:
      source: "trips", or "stand_in" (synthetic, the columns and zones' number of "trips").
      data_dir: folder that holds `trips.csv` and `lots.csv`; default `EQUIPOISE_DATA`, then the cache, then a download.

    Raises:
      DataError: the tables cannot be had, or are not the published ones.
    """
    trips, lots = columns(source, data_dir)
    zones = np.unique(lots["zone"]).astype(np.int64)
    if len(zones) != NUM_ZONES:
        raise fetch.DataError(f"nyc ({source}): lots must lie in {NUM_ZONES} zones, found {len(zones)}.")
    places = np.stack([lots["x"], lots["y"]], axis=1)
    positions = np.stack([places[lots["zone"] == zone].mean(axis=0) for zone in zones])
    known = np.isin(trips["puzone"], zones)
    place = tuple(trips[name][known] for name in ("dow", "t_15min"))
    counts = np.zeros((len(WEEKDAYS), QUARTERS, NUM_ZONES))
    np.add.at(counts, (*place, np.searchsorted(zones, trips["puzone"][known])), trips["n_trips"][known])
    return Pickups(counts, positions, zones)


def columns(source: str = "trips", data_dir: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The two tables by column: trips (integers) and lots (x and y in km). Arguments as in `load`."""
    if source == "stand_in":
        return _stand_in()
    if source != "trips":
        raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {source!r}.")
    tables = fetch.read(SOURCE, data_dir)
    return _table(tables["trips.csv"], _TRIPS, np.int64), _table(tables["lots.csv"], _LOTS, np.float64)


def _table(content: bytes, header: tuple[str, ...], dtype) -> dict[str, np.ndarray]:
    first, *rows = content.decode().splitlines()
    if tuple(first.split(",")) != header:
        raise fetch.DataError(f"nyc: a table must have the header {','.join(header)}, got {first}.")
    values = np.loadtxt(rows, delimiter=",", dtype=dtype, ndmin=2)
    return dict(zip(header, values.T, strict=True))


def _stand_in() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Synthetic trips between synthetic zones of an island, busier at noon and in the middle; ten zones have no lot."""
    rng = np.random.default_rng(0)
    zones = np.sort(rng.choice(np.arange(1, 264), NUM_ZONES + 10, replace=False))
    with_lot, x, y = zones[:NUM_ZONES], rng.uniform(583, 592, NUM_ZONES), rng.uniform(4507, 4525, NUM_ZONES)
    of_zone = np.arange(302) % NUM_ZONES
    lots = {
        "id": np.arange(302.0), "x": x[of_zone] + rng.normal(0, 0.3, 302), "y": y[of_zone] + rng.normal(0, 0.3, 302),
        "zone": with_lot[of_zone].astype(np.float64),
    }  # fmt: skip
    weekday, quarter, pickup = (a.ravel() for a in np.meshgrid(range(5), range(QUARTERS), zones, indexing="ij"))
    busy = np.exp(-(((quarter - 52) / 24.0) ** 2)) * rng.gamma(1.0, 1.0, zones.max() + 1)[pickup]
    trips = {
        "dow": weekday, "t_15min": quarter, "puzone": pickup, "dozone": rng.choice(zones, len(pickup)),
        "n_trips": 1 + rng.poisson(200 * busy),
    }  # fmt: skip
    return trips, lots


SOURCE = fetch.Source(
    name="nyc",
    sha256={
        "trips.csv": "1d41deac4f26d2759fa9ad1e56a65542abc7544a1d87971e386b8af26ff46f3e",
        "lots.csv": "6e6104db8d553d9bc7eaa19179a8c07a88887910fbad1dca7ff7a96e8c867b61",
    },
    digest=fetch.sha256,
    package="pyhailing==0.0.9",
    members=("pyhailing/data/trips.csv", "pyhailing/data/lots.csv"),
    unpack=lambda trips, lots: {"trips.csv": trips, "lots.csv": lots},
    download_bytes=11_929_132,
    licence="Apache 2.0",
)
