"""The family's data sets as sources of the comparison."""

import functools
from collections.abc import Callable, Iterable, Mapping

from experiments.data.design import Groupwise
from experiments.regret.protocol import Source
from research.regret import problems

__all__ = ["synthetic", "tabular"]

NUM_SYNTHETIC_FEATURES = 25  # 20 uniform ones and the indicators of five attribute values


def tabular(load: Callable[[], Groupwise], shapes: Mapping[str, tuple[int, ...]], groups: Iterable[str]) -> Source:
    """A data set of `experiments.data`, loaded when it is first asked for."""

    @functools.cache
    def table() -> problems.Table:
        found = load()
        return problems.Table(found.features, found.labels, found.awake > 0, found.group_names)

    return Source(*shapes["features"], tuple(groups), table)


def synthetic(label: str, num_rows: int) -> Source:
    """The paper's synthetic law, with one of its four labels."""
    return Source(
        num_rows,
        NUM_SYNTHETIC_FEATURES,
        problems.SYNTHETIC_GROUPS,
        functools.cache(lambda: problems.synthetic_law(label, num_rows)),
    )
