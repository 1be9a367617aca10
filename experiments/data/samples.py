"""Breast cancer in Wisconsin (569 biopsies) and handwritten digits (1,797 images), as scikit-learn carries them.

W. Wolberg, W. Street, O. Mangasarian, diagnostic features of cell nuclei (1995), and E. Alpaydin, C. Kaynak, the test
part of the optical recognition of handwritten digits (1998); both from the UCI Machine Learning Repository, CC BY 4.0.
The two tables are taken out of the wheel of `scikit-learn` (BSD 3-Clause), of which nothing is imported.

Letters: `n` samples, `d` columns without the constant one.
"""

from __future__ import annotations

import gzip
from typing import NamedTuple

import numpy as np

from experiments.data import fetch

__all__ = ["SHAPES", "SOURCE", "SOURCES", "Labelled", "load"]

SOURCES = ("published", "stand_in")

#: Rows and columns of `Labelled.features`.
SHAPES = {"breast_cancer": (569, 31), "digits": (1797, 65)}

_CANCER_HEADER = "569,30,malignant,benign"


class Labelled(NamedTuple):
    """A problem of two classes.

    Attributes:
      features: `[n, d + 1]` float64, the last column constant, the mean of the rows' lengths 1.
      labels: `[n]` float64, -1 or 1.
    """

    features: np.ndarray
    labels: np.ndarray


def load(name: str, source: str = "published", data_dir: str | None = None) -> Labelled:
    """A data set as a linear classifier sees it.

    Args:
      name: "breast_cancer": columns standardised, label 1 for a benign biopsy; or "digits": pixels over 16, label 1 for
        an even digit. Both with a constant column, then divided by the mean length of a row.
      source: "published", or "stand_in" (synthetic, the same shapes).
      data_dir: folder that holds `breast_cancer.csv` and `digits.csv`; default `EQUIPOISE_DATA`, then the cache, then a
        download.

    Raises:
      DataError: the tables cannot be had, or are not the published ones.
    """
    if name not in SHAPES:
        raise ValueError(f"name must be one of {', '.join(SHAPES)}, got {name!r}.")
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {source!r}.")
    values, target = _stand_in(name) if source == "stand_in" else _published(name, data_dir)
    if name == "breast_cancer":
        values, positive = (values - values.mean(axis=0)) / values.std(axis=0), target == 1
    else:
        values, positive = values / 16, target % 2 == 0
    features = np.column_stack([values, np.ones(len(values))])
    if features.shape != SHAPES[name]:
        raise fetch.DataError(f"samples: {name} must be {SHAPES[name]} with its constant, found {features.shape}.")
    return Labelled(features / np.linalg.norm(features, axis=1).mean(), np.where(positive, 1.0, -1.0))


def _published(name: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    rows = fetch.read(SOURCE, data_dir)[f"{name}.csv"].decode().splitlines()
    if name == "breast_cancer":
        header, *rows = rows
        if header != _CANCER_HEADER:
            raise fetch.DataError(f"samples: breast_cancer.csv must begin with {_CANCER_HEADER}, got {header}.")
    table = np.loadtxt(rows, delimiter=",", ndmin=2)
    return table[:, :-1], table[:, -1]


def _stand_in(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Two classes that a hyperplane separates in part."""
    rng = np.random.default_rng(5)
    n, d = SHAPES[name][0], SHAPES[name][1] - 1
    values, normal = rng.normal(size=(n, d)), rng.normal(size=d)
    side = values @ normal / np.sqrt(d) + rng.normal(size=n) > 0
    if name == "breast_cancer":
        return 10 + 3 * values, side.astype(float)
    return np.clip(np.round(8 + 4 * values), 0, 16), 2 * rng.integers(0, 5, n) + 1.0 * ~side


SOURCE = fetch.Source(
    name="samples",
    sha256={
        "breast_cancer.csv": "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed",
        "digits.csv": "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
    },
    digest=fetch.sha256,
    package="scikit-learn==1.6.1",
    members=("sklearn/datasets/data/breast_cancer.csv", "sklearn/datasets/data/digits.csv.gz"),
    unpack=lambda cancer, digits: {"breast_cancer.csv": cancer, "digits.csv": gzip.decompress(digits)},
    download_bytes=13_497_069,
    licence="CC BY 4.0",
)
