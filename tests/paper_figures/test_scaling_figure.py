"""The scaling figure, from made-up points of six families."""

import pytest

from experiments.lib import scaling, scaling_page, style
from experiments.lib.scaling import Point
from experiments.lib.step_time import Work
from pallas_kernels._lab.report import Collective
from paper_figures.pods import fig_scaling

FAMILIES = ("balancing", "halpern", "matching", "mlmc", "pooling", "regret")


def point(name, mode, chips, milliseconds, *collectives, why_not=None):
    work = None if why_not else Work(milliseconds * 1.5e6, False, 0.0, 0.0, collectives)
    return Point(name, mode, chips, why_not, work, 0.0)


@pytest.fixture
def page(monkeypatch):
    """The first communicates and does not fit on one chip, the last has 256 replicates, the others scale ideally."""
    points = []
    for name in (f"{family}/question" for family in FAMILIES):
        sums = (Collective("", "all-reduce", 1.0, 10**8, 16),) if name.startswith("balancing") else ()
        for chips in scaling.TARGETS:
            why_not = "HBM: too much" if sums and chips == 1 else None
            points.append(point(name, "weak", chips, 1.0, *sums, why_not=why_not))
            rest = 256 / (min(chips, 256) if name.startswith("regret") else chips)
            points.append(point(name, "strong", chips, rest, *sums, why_not=why_not))
    points[-1] = point("regret/question", "strong", 4096, 0.0, why_not="256 replicates")
    found = scaling_page.Page("libtpu 1.2.3", "0", "2000-01-01", sorted(points, key=lambda one: one[:3]))
    monkeypatch.setattr(scaling_page, "read", lambda: found)
    return found


def test_two_panels_have_a_curve_of_every_family_that_begins_where_it_fits(page, tmp_path):
    fig = fig_scaling.draw([])
    assert "Estimates from programs compiled by libtpu 1.2.3, not measurements" in fig.get_suptitle()
    assert "not measurements" in fig_scaling.caption
    weak, strong = style.plotted(fig)
    for panel in (weak, strong):
        lines = {line["label"]: line for line in panel["lines"] if not line["label"].startswith("_")}
        assert set(lines) == {f"{family}/question" for family in FAMILIES}
        assert lines["balancing/question"]["x"] == [16, 256, 512, 4096]
        assert lines["halpern/question"]["x"] == [1, 16, 256, 512, 4096]
        assert lines["halpern/question"]["y"] == pytest.approx([1] * 5)
    assert weak["lines"][0]["y"][0] == 1
    last = next(line for line in strong["lines"] if line["label"] == "regret/question")
    assert last["y"] == pytest.approx([1, 1, 1, 1 / 2, 1 / 16])
    assert [path.suffix for path in style.save(fig, tmp_path / "f")] == [".pdf", ".png"]


def test_what_was_not_compiled_is_an_open_marker(page):
    _, strong = fig_scaling.draw([]).axes
    last = [marks for marks in strong.collections if marks.get_label().startswith("regret/question")]
    assert [marks.get_label().partition(", ")[2] for marks in last] == ["compiled"] * 4 + ["follows"]
    assert [tuple(marks.get_facecolor()[0][:3]) == (1, 1, 1) for marks in last] == [False] * 4 + [True]


def test_everything_drawn_is_inside_of_its_panel(page):
    for ax in fig_scaling.draw([]).axes:
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        for marks in ax.collections:
            ((x, y),) = marks.get_offsets()
            assert left < x < right
            assert bottom < y < top
