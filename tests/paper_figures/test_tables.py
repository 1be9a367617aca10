"""Tables: three formats of the same rows, and bold type only where intervals separate."""

import math

import numpy as np
import pytest

from experiments.lib import tables
from experiments.lib.tables import Measured, Table

LOW, MIDDLE, HIGH = Measured(-1.583, -1.6, -1.566, 10), Measured(0.25, 0.2, 0.3, 10), Measured(0.31, 0.29, 0.33, 10)
ALONE = Measured(-9.0, -math.inf, math.inf, 1)

TABLE = Table(
    header=("group", "T_g", "baseline", "ours", "bound"),
    rows=(("young & male", 574, MIDDLE, LOW, 6.5479), ("old", 1338, MIDDLE, HIGH, math.nan)),
    caption="Regret per group, 50% of λ.",
    compare=(2, 3),
)


@pytest.mark.parametrize(
    ("cells", "better", "winner"),
    [
        ((MIDDLE, LOW), "lower", 1),
        ((MIDDLE, LOW), "higher", 0),
        ((MIDDLE, HIGH), "lower", None),  # 0.3 > 0.29
        ((MIDDLE, HIGH, LOW), "lower", 2),
        ((MIDDLE, HIGH, LOW), "higher", None),
        ((LOW, ALONE), "lower", None),  # nothing is known of the spread of one replicate
        ((LOW,), "lower", None),
        ((LOW, LOW), "lower", None),
        ((LOW, 0.3), "lower", None),  # a number without an interval cannot be separated from
    ],
)
def test_bold_only_where_intervals_separate(cells, better, winner):
    table = Table(("m",) * len(cells), (cells,), compare=tuple(range(len(cells))), better=better)
    assert tables.bold(table) == [winner]


def test_better_has_two_values():
    with pytest.raises(ValueError, match="better must be lower or higher, got 'best'"):
        tables.bold(TABLE._replace(better="best"))


def test_markdown():
    assert tables.markdown_text(TABLE) == (
        "Regret per group, 50% of λ.\n"
        "\n"
        "| group | T\\_g | baseline | ours | bound |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| young & male | 574 | 0.250 ± 0.050 | **−1.583 ± 0.017** | 6.548 |\n"
        "| old | 1338 | 0.250 ± 0.050 | 0.310 ± 0.020 | – |\n"
    )


def test_latex():
    assert tables.latex_text(TABLE) == (
        "\\begin{table}\n"
        "\\centering\n"
        "\\begin{tabular}{lrrrr}\n"
        "\\toprule\n"
        "group & T\\_g & baseline & ours & bound \\\\\n"
        "\\midrule\n"
        "young \\& male & 574 & 0.250 $\\pm$ 0.050 & \\textbf{$-$1.583 $\\pm$ 0.017} & 6.548 \\\\\n"
        "old & 1338 & 0.250 $\\pm$ 0.050 & 0.310 $\\pm$ 0.020 & – \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\caption{Regret per group, 50\\% of $\\lambda$.}\n"
        "\\end{table}\n"
    )


def test_csv_keeps_every_digit_and_the_interval():
    assert tables.csv_text(TABLE) == (
        "group,T_g,baseline,baseline low,baseline high,baseline n,ours,ours low,ours high,ours n,bound\n"
        "young & male,574,0.25,0.2,0.3,10,-1.583,-1.6,-1.566,10,6.5479\n"
        "old,1338,0.25,0.2,0.3,10,0.31,0.29,0.33,10,nan\n"
    )


def test_one_replicate_is_printed_without_an_interval_and_numpy_numbers_like_python_ones():
    row = (ALONE, np.float64(0.12345), np.float32(0.5), np.int64(3), "a|b")
    table = Table(("a", "b", "c", "d", "e"), (row,), digits=2)
    assert tables.markdown_text(table).splitlines()[-1] == "| −9.00 | 0.12 | 0.50 | 3 | a\\|b |"


def test_three_files(tmp_path):
    written = tables.save(TABLE, tmp_path / "t")
    assert [path.name for path in written] == ["t.csv", "t.md", "t.tex"]
    assert all(path.read_text() for path in written)
