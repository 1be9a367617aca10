"""Nested families of groups: conjunctions of attribute values, from everybody alone to a thousand intersections.

A family is an order of groups; its first k groups are the family of size k. Everybody comes first, then groups by the
number of conditions, and within a number by size.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.data import adult as adult_data
from experiments.data import insurance
from research.core import validate
from research.core.types import Bool, Float, Int
from research.regret import problems

__all__ = ["FamilySource", "Nested", "adult", "coded_law", "medical", "source"]

#: Numbers of conditions in the order in which a family takes them. Medical: after the groups of one attribute come the
#: combinations of all four, which makes the first 57 groups those of the published comparison.
MEDICAL_DEPTHS = (0, 1, 4, 2, 3)


class Nested(NamedTuple):
    features: Float[np.ndarray, "N d"]
    labels: Float[np.ndarray, " N"]  # in [0, 1]
    awake: Bool[np.ndarray, "N G"]  # the first group is everybody
    depth: Int[np.ndarray, " G"]  # number of conditions
    names: tuple[str, ...]


class FamilySource(NamedTuple):
    """A data set with families of groups.

    Attributes:
      num_rows, num_features: known without the data.
      load: `(num_groups) -> Nested` with that many groups; raises ValueError if there are fewer.
    """

    num_rows: int
    num_features: int
    load: Callable[[int], Nested]


def source(problem) -> FamilySource:
    """What `config.problem` asks for: `data_set`, and for the law `num_rows` and `attributes`."""
    if problem.data_set == "medical":
        return medical()
    if problem.data_set == "adult":
        return adult(problem.min_size)
    if problem.data_set == "coded_law":
        return coded_law(problem.num_rows, tuple(problem.attributes), problem.law_seed)
    raise ValueError(f"config.problem.data_set must be one of medical, adult, coded_law, got {problem.data_set!r}.")


def medical() -> FamilySource:
    """Medical costs; up to 176 conjunctions of age group, body-mass group, smoking and sex."""

    def load(num_groups: int) -> Nested:
        table, traits = insurance.load(), insurance.attributes()
        return _nested(table.features, table.labels, traits.codes, traits.levels, num_groups, MEDICAL_DEPTHS)

    return FamilySource(*insurance.SHAPES["features"], functools.cache(load))


def adult(min_size: int) -> FamilySource:
    """UCI Adult; conjunctions of up to two of nine attributes that at least `min_size` people meet (50: 980 groups)."""

    def load(num_groups: int) -> Nested:
        table, traits = adult_data.load(), adult_data.attributes()
        return _nested(table.features, table.labels, traits.codes, traits.levels, num_groups, (0, 1, 2), min_size)

    return FamilySource(*adult_data.SHAPES["uci"]["features"], functools.cache(load))


def coded_law(num_rows: int, attributes: Sequence[int], seed: int, num_uniform: int = 10) -> FamilySource:
    """The paper's synthetic law with more attributes, beside the real data: uniform features and indicators of the
    attributes' values; every value has its own linear law, and a label is the mean over its values, plus noise.

    Args:
      attributes: number of values of each; all conjunctions of (3, 3, 3, 3, 3) are 1,024 groups.
      seed: of the law and the rows.
    """

    def load(num_groups: int) -> Nested:
        rng = np.random.default_rng(seed)
        shares = [rng.dirichlet(np.full(values, 20.0)) for values in attributes]
        codes = np.stack([rng.choice(len(share), num_rows, p=share) for share in shares], axis=1)
        uniform = rng.random((num_rows, num_uniform))
        by_value = [uniform @ rng.random((num_uniform, values)) for values in attributes]
        chosen = [laws[np.arange(num_rows), code] for laws, code in zip(by_value, codes.T, strict=True)]
        labels = problems.min_max(np.mean(chosen, axis=0) + rng.normal(scale=0.16, size=num_rows))
        indicators = [code[:, None] == np.arange(values) for values, code in zip(attributes, codes.T, strict=True)]
        features = np.concatenate([uniform, *indicators], axis=1)
        levels = [tuple(f"{chr(ord('A') + j)}{v}" for v in range(values)) for j, values in enumerate(attributes)]
        return _nested(features, labels, codes, levels, num_groups, tuple(range(len(attributes) + 1)))

    return FamilySource(num_rows, num_uniform + sum(attributes), functools.cache(load))


def _nested(features, labels, codes, levels, num_groups, depths, min_size=1) -> Nested:
    family = problems.intersectional(codes, max(depths), min_size, levels)
    available = len(family.names)
    validate.require(num_groups <= available, "config.problem.sizes", f"end at most at {available}", num_groups)
    awake = np.asarray(problems.membership(codes, family.conditions))
    depth = (family.conditions >= 0).sum(axis=1)
    rank = np.argsort(np.asarray(depths))[depth]
    order = np.lexsort((-awake.sum(axis=0), rank))[:num_groups]
    return Nested(features, labels, awake[:, order], depth[order], tuple(family.names[k] for k in order))
