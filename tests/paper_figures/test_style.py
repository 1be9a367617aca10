"""Style: fixed looks, curves with intervals, the same bytes every time, provenance in the files."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import image

from experiments.lib import style

RUNS = [
    SimpleNamespace(path=Path("/somewhere/regret/medical/medical-0123abcd"), meta={"git_revision": "f" * 40}),
    SimpleNamespace(path=Path("/somewhere/regret/adult/adult-89abcdef"), meta={"git_revision": "e" * 40}),
]
X = np.arange(1.0, 6.0)
VALUES = np.stack([X, 2 * X, 3 * X], axis=1)


def drawn():
    fig, ax = style.figure("column")
    style.curve(ax, X, VALUES, "anh")
    style.reference(ax, X, 4 * X, "theorem")
    ax.scatter([1.0, 2.0], [3.0, np.nan], label="points")
    ax.bar([1.0, 2.0], [0.5, 0.25], width=0.4, label="bars")
    ax.set_xlabel("rounds of the group")
    ax.legend()
    return style.stamp(fig, RUNS)


def test_sizes_are_those_of_the_page():
    fig, axes = style.figure("text", ratio=0.5, rows=2, columns=3, sharex=True)
    assert fig.get_size_inches() == pytest.approx([6.75, 3.375])
    assert axes.shape == (2, 3)
    fig, ax = style.figure(4.0)
    assert fig.get_size_inches() == pytest.approx([4.0, 2.48])
    assert ax.figure is fig


def test_a_method_has_one_look_and_an_unknown_one_is_an_error():
    assert style.look("aa").label == "specialist AA"
    with pytest.raises(ValueError, match="method must be one of baseline, anh, .*, got 'adam'"):
        style.look("adam")


def test_looks_of_one_figure_can_be_told_apart_without_colour():
    regret = ["baseline", "anh", "anh_mean", "aa", "ewa", "smallest_group", "uniform", "sgd"]
    assert len({(style.look(name).color, style.look(name).linestyle) for name in regret}) == len(regret)
    assert len({style.look(name).marker for name in regret}) == len(regret)


def test_a_curve_is_the_mean_with_students_interval():
    _, ax = style.figure()
    line = style.curve(ax, X, VALUES, "aa", label="ours")
    np.testing.assert_allclose(line.get_ydata(), 2 * X)
    assert line.get_label() == "ours (n = 3)"
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(5 * (2 + 4.302652729911275 / np.sqrt(3)))


def test_a_single_replicate_has_no_band():
    _, ax = style.figure()
    style.curve(ax, X, VALUES[:, :1], "aa")
    assert not ax.collections


def test_every_plotted_number_is_listed():
    (panel,) = style.plotted(drawn())
    json.dumps(panel, allow_nan=False)
    assert panel["x"] == "rounds of the group"
    mean, bound = panel["lines"]
    assert (mean["label"], mean["y"]) == ("ANH, expected loss (n = 3)", list(2 * X))
    assert (bound["label"], bound["x"], bound["y"]) == ("theorem", list(X), list(4 * X))
    assert panel["points"] == [{"label": "points", "x": [1.0, 2.0], "y": [3.0, None]}]
    assert panel["bars"][0]["label"] == "bars"
    np.testing.assert_allclose(panel["bars"][0]["boxes"], [[0.8, 0.0, 0.4, 0.5], [1.8, 0.0, 0.4, 0.25]])
    assert len(panel["bands"]) == 1


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    first = [path.read_bytes() for path in style.save(drawn(), tmp_path / "f")]
    second = [path.read_bytes() for path in style.save(drawn(), tmp_path / "f")]
    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.pdf", "f.png"]


def test_files_name_their_runs_and_revisions_and_embed_their_fonts(tmp_path):
    pdf, png = style.save(drawn(), tmp_path / "f")
    content = pdf.read_bytes()
    assert b"medical-0123abcd" in content
    assert b"CreationDate" not in content
    assert b"/FontFile2" in content  # TrueType, embedded
    assert re.search(rb"/Type3", content) is None
    assert b"regret/adult/adult-89abcdef" in png.read_bytes()
    assert b"e" * 40 in png.read_bytes()
    assert image.imread(png).shape[1] == 670  # 3.35 in at 200 dpi
