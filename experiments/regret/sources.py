"""The family's data sets as sources of the comparison, each in shuffled or in sorted order."""

import functools
from collections.abc import Callable, Iterable, Mapping

from experiments.data import adult as adult_data
from experiments.data import insurance
from experiments.data.design import Groupwise
from experiments.regret.protocol import Source
from research.regret import problems

__all__ = ["adult", "by_age", "by_color", "medical", "synthetic"]

_NUM_SYNTHETIC_FEATURES = 25  # 20 uniform ones and the indicators of five attribute values
_AGE = 1  # column of the features of Adult; scaled, which keeps the order


def medical(source: str = "published") -> Source:
    """Medical costs; `source` as in `insurance.load`."""
    return _tabular(lambda: insurance.load(source=source), insurance.SHAPES, insurance.GROUP_SIZES)


def adult(source: str = "uci") -> Source:
    """Adult; `source` as in `adult.load`."""
    return _tabular(lambda: adult_data.load(source=source), adult_data.SHAPES[source], adult_data.GROUP_NAMES)


def synthetic(label: str = "mean", num_rows: int = 100_000) -> Source:
    """The paper's synthetic law with one of its four labels."""
    load = functools.cache(lambda: problems.synthetic_law(label, num_rows))
    return Source(num_rows, _NUM_SYNTHETIC_FEATURES, problems.SYNTHETIC_GROUPS, load)


def by_color(source: Source) -> Source:
    """The synthetic rows sorted by color, red first; the paper's drifting order."""
    green = source.groups.index("green")
    return source._replace(arrange=lambda table, rows: problems.sorted_order(rows, table.awake[:, green]))


def by_age(source: Source, descending: bool = False) -> Source:
    """The rows of Adult sorted by age."""
    return source._replace(
        arrange=lambda table, rows: problems.sorted_order(rows, table.features[:, _AGE], descending=descending)
    )


def _tabular(load: Callable[[], Groupwise], shapes: Mapping[str, tuple[int, ...]], groups: Iterable[str]) -> Source:
    @functools.cache
    def table() -> problems.Table:
        found = load()
        return problems.Table(found.features, found.labels, found.awake > 0, found.group_names)

    return Source(*shapes["features"], tuple(groups), table)
