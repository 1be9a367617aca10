"""The roofline figure, from a made-up table of reports."""

import json

import numpy as np
import pytest

from experiments.lib import style
from pallas_kernels._lab.chips import CHIPS
from paper_figures.kernels import fig_roofline, roofline

CHIP_NAMES = ["v5e", "v5p", "v6e", "tpu7x"]


def row(kernel, case, chip, impl, seconds, *, units=1, flops=1e9, num_bytes=1e7):
    """Flops, bytes and seconds of one of `units`."""
    return {
        "kernel": kernel, "case": case, "chip": chip, "impl": impl, "units": units, "flops": flops * units,
        "bytes": num_bytes * units, "seconds": seconds * units,
    }  # fmt: skip


def table(kernels=("prequential_ridge",), cases=("d9", "d25", "d100")):
    """XLA takes four times as long, does twice the flops and eight units at a time."""
    rows = []
    for i, kernel in enumerate(kernels):
        for j, case in enumerate(cases):
            for chip in CHIP_NAMES:
                seconds = 1e-4 * (1 + i + j)
                work = {"flops": 1e8 * 4**j * (1 + i), "num_bytes": 1e7}
                more = work | {"flops": 2 * work["flops"]}
                rows.append(row(kernel, case, chip, "kernel", seconds, **work))
                rows.append(row(kernel, case, chip, "xla", 4 * seconds, units=8, **more))
    return {"compiler": "libtpu 1.2.3", "jax": "0", "date": "2000-01-01", "how": "", "rows": rows}


@pytest.fixture
def stored(monkeypatch):
    def use(reports):
        monkeypatch.setattr(fig_roofline, "_stored", lambda: reports)

    use(table())
    return use


def test_both_implementations_of_a_case_do_the_work_of_the_leaner_one():
    points = roofline.points(table()["rows"], "v5e")
    assert [point.case for point in points] == ["d9", "d25", "d100"]
    assert [point.intensity for point in points] == pytest.approx([10, 40, 160])
    assert points[0].rates == pytest.approx({"kernel": 1e12, "xla": 0.25e12})
    assert [point.times_faster for point in points] == pytest.approx([4, 4, 4])


def test_a_case_without_a_peer_is_a_point_of_its_own():
    (point,) = roofline.points([row("k", "c", "v5e", "kernel", 1e-3)], "v5e")
    assert point.rates == {"kernel": pytest.approx(1e12)}


def test_letters_are_those_of_the_alphabet_in_the_order_of_numbers():
    names = roofline.labels(table(("b", "a"), tuple(f"n{i}" for i in range(20)))["rows"])
    assert names["a", "n0"] == "a"
    assert names["a", "n10"] == "k"
    assert names["b", "n6"] == "aa"
    assert len(set(names.values())) == 40


def test_a_panel_per_chip_has_its_roofs_its_points_and_says_what_they_are(stored, tmp_path):
    fig = fig_roofline.draw([])
    assert "Estimates of the compiler libtpu 1.2.3, not measurements" in fig.get_suptitle()
    assert "not measurements" in fig_roofline.caption
    panels = style.plotted(fig)
    assert [panel["title"].partition(":")[0] for panel in panels] == CHIP_NAMES
    for panel in panels:
        chip = CHIPS[panel["title"].partition(":")[0]]
        roofs = {line["label"]: line for line in panel["lines"] if line["label"] != "_"}
        assert {name: max(line["y"]) for name, line in roofs.items()} == pytest.approx(
            {"_bfloat16": chip.flops, "_float32": chip.flops / 6, "_vector": chip.vector_flops}
        )
        for line in roofs.values():
            assert line["y"][0] == pytest.approx(min(chip.bandwidth * line["x"][0], line["y"][-1]))
            assert line["x"] == sorted(line["x"])
        marked = {entry["label"]: (entry["x"], entry["y"]) for entry in panel["points"]}
        assert marked["prequential_ridge d9, kernel"] == ([pytest.approx(10)], [pytest.approx(1e12)])
        assert marked["prequential_ridge d9, xla"] == ([pytest.approx(10)], [pytest.approx(0.25e12)])
        assert len(marked) == 6
    legend = [text.get_text() for text in fig.legends[0].get_texts()]
    assert "prequential_ridge: a d9, b d25, c d100" in legend
    assert "XLA's own schedule" in legend
    assert [path.suffix for path in style.save(fig, tmp_path / "f")] == [".pdf", ".png"]


def test_everything_drawn_is_inside_of_its_panel(stored):
    stored(table(("a", "b"), tuple(f"n{i}" for i in range(4))))
    for ax in fig_roofline.draw([]).axes:
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        for points in ax.collections:
            ((x, y),) = points.get_offsets()
            assert left < x < right
            assert bottom < y < top


def test_with_eleven_kernels_letters_do_not_cover_each_other_and_kernels_can_be_told_apart(stored):
    kernels = [f"kernel_{i}" for i in range(11)]
    stored(table(tuple(kernels), ("small", "large")))
    assert len({roofline.look(kernel, kernels) for kernel in kernels}) == 11
    fig = fig_roofline.draw([])
    for ax in fig.axes:
        boxes = [text.get_window_extent() for text in ax.texts]
        assert len(boxes) == 22
        centres = np.array([[(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2] for box in boxes])
        distances = np.hypot(*(centres[:, None] - centres[None]).T) + np.diag(np.full(22, np.inf))
        assert distances.min() > 3 * fig.dpi / 72  # points, about half a letter


def test_the_same_table_gives_the_same_bytes(stored, tmp_path):
    first, second = (
        [path.read_bytes() for path in style.save(fig_roofline.draw([]), tmp_path / "f")] for _ in range(2)
    )
    assert first == second


def test_claims_are_of_the_worst_case_on_each_chip(stored):
    reports = table()
    reports["rows"].append(row("prequential_ridge", "slow", "v6e", "kernel", 1.0))
    reports["rows"].append(row("prequential_ridge", "slow", "v6e", "xla", 1.5))
    stored(json.loads(json.dumps(reports)))
    found = fig_roofline.claims([])
    assert {name: one.value for name, one in found.items()} == pytest.approx(
        {
            "prequential_ridge_v5e": 4,
            "prequential_ridge_v5p": 4,
            "prequential_ridge_v6e": 1.5,
            "prequential_ridge_tpu7x": 4,
        }
    )
    assert found["prequential_ridge_v6e"].n == 4
