"""A family with one figure and one table, whose runs are written by a stand-in for the experiment's process; and the
real families' figures, whose quick runs are done in this one."""

import json
import re
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

import paper_figures
from experiments.lib import config as config_lib
from experiments.lib import files, rundir
from paper_figures import catalog, make, runner

CONFIG = """
import ml_collections as mlc

ARGS = ("quick", "steep")

def get_config(arg=""):
    quick = "quick" in arg
    c = mlc.ConfigDict({"experiment": "toy.walk", "seed": 0, "data": DATA})
    c.slope = 2.0 if "steep" in arg else 1.0
    c.run = {"num_steps": 2 if quick else 4, "chunk": 2, "replicates": 3}
    return c
"""

FIGURE = """
from experiments.lib import style
from paper_figures.claims import measured

CONFIGS = ["{configs}/walk.py", "{configs}/walk.py:steep"]
PAPER_CONFIGS = ["{configs}/walk.py"]
caption = "A walk."

def draw(runs):
    fig, ax = style.figure()
    for run in runs:
        style.curve(ax, run.curves["step"], run.curves["height"], "anh")
    return fig

def claims(runs):
    return {"height": measured(runs[0].curves["height"][-1])}
"""

TABLE = """
from experiments.lib.tables import Table, measured

CONFIGS = ["{configs}/walk.py:steep"]
PAPER_CONFIGS = []
caption = "Heights."

def table(runs):
    return Table(("walk", "height"), tuple((run.name, measured(run.curves["height"][-1])) for run in runs))
"""

EXPECTED = {
    "claims": [
        {
            "id": "height", "claim": "height after the last step", "published": 4.0, "source": "table 1", "unit": "m",
            "tolerance": {"quick": None, "default": 0.5, "paper": 0.01},
        }
    ]
}  # fmt: skip


def write_run(reference, root):
    """What the experiment would leave: three replicates around slope * step."""
    resolved = config_lib.resolve(reference)
    folder = root / resolved.directory
    folder.mkdir(parents=True, exist_ok=True)
    step = np.arange(1, resolved.config.run.num_steps + 1)
    height = resolved.config.slope * step[:, None] + np.array([-0.25, 0.0, 0.25])
    files.replace(folder / "config.json", resolved.text)
    meta = {"schema": rundir.SCHEMA, "git_revision": "f" * 40, "failed": [], "axes": {}}
    files.replace(folder / "meta.json", json.dumps(meta))
    files.replace(folder / "curves.npz", files.npz_bytes({"step": step, "height": height}))
    files.replace(folder / "DONE", "")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Returns the folder; `set_data(name)` says what the configs read, `add(name, text)` adds a figure."""
    family = tmp_path / "figures" / "toy"
    (family / "expected").mkdir(parents=True)
    (tmp_path / "configs").mkdir()
    monkeypatch.setattr(catalog, "FOLDER", tmp_path / "figures")
    monkeypatch.setattr(paper_figures, "__path__", [*paper_figures.__path__, str(tmp_path / "figures")])

    class Toy:
        path = tmp_path
        root = tmp_path / "runs"
        out = tmp_path / "out"

        @staticmethod
        def set_data(name):
            (tmp_path / "configs" / "walk.py").write_text(CONFIG.replace("DATA", repr(name)))

        @staticmethod
        def add(name, text):
            (family / f"{name}.py").write_text(text.replace("{configs}", str(tmp_path / "configs")))

    (family / "__init__.py").write_text("")
    (family / "expected" / "walk.json").write_text(json.dumps(EXPECTED))
    Toy.set_data("")
    Toy.add("fig_walk", FIGURE)
    Toy.add("tab_heights", TABLE)
    yield Toy
    for name in [name for name in sys.modules if name.startswith("paper_figures.toy")]:
        del sys.modules[name]


@pytest.fixture
def processes(monkeypatch):
    """Replaces the experiment's process; returns the commands. Configs whose reference is in `broken` fail."""

    class Commands(list):
        broken = frozenset()

    commands = Commands()

    def execute(line, _):
        commands.append(line)
        options = dict(argument.split("=", 1) for argument in line if argument.startswith("--") and "=" in argument)
        if any(options["--config"].endswith(end) for end in commands.broken):
            return 1, "starting\nerror: it broke\n"
        write_run(options["--config"], Path(options["--root"]))
        return 0, ""

    monkeypatch.setattr(runner, "_execute", execute)
    return commands


#: Figures of the default tests: at least one of a kind, most of them of runs that tests of experiments look at too.
#: The others are slow tests: `make figures`, the other command of a new machine, draws all and checks their claims.
ALWAYS = {
    "regret/fig_medical", "regret/tab_medical_regret", "regret/fig_bounds", "matching/fig_law", "matching/fig_rho",
    "matching/fig_bidding", "matching/fig_mechanism", "matching/fig_ablation", "halpern/fig_quadratic",
    "halpern/fig_certificate", "mlmc/fig_deadline", "mlmc/fig_estimators", "balancing/fig_preference",
    "pooling/fig_running_max",
}  # fmt: skip


def pytest_generate_tests(metafunc):
    """`figure` is every figure and table of the family that the test's file is named after."""
    if "figure" in metafunc.fixturenames:
        family = re.fullmatch(r"test_(\w+)_figures", metafunc.module.__name__)[1]
        names = [entry.name for entry in catalog.entries() if entry.name.startswith(f"{family}/")]
        marks = [() if name in ALWAYS else pytest.mark.slow for name in names]
        cases = zip(names, marks, strict=True)
        metafunc.parametrize(
            "figure", [pytest.param(name, marks=mark, id=name.partition("/")[2]) for name, mark in cases]
        )


@pytest.fixture
def draw_quick(quick_run, quick_root, tmp_path, monkeypatch, capsys):
    """`draw_quick(figure)`: its quick runs, the picture, the claims. Skips where its data is not here."""
    monkeypatch.setenv("EQUIPOISE_REVISION", "as-tested")  # the working tree may be edited while tests run

    def execute(line, _):
        (reference,) = [word.removeprefix("--config=") for word in line if word.startswith("--config=")]
        try:
            return quick_run(reference)[0], ""
        except Exception:  # to be reported beside the command, as a process's would be
            return 1, traceback.format_exc()

    monkeypatch.setattr(runner, "_execute", execute)

    def draw(figure):
        command = [f"--only={figure}", "--form=quick", "--recompute", "--check", "--jobs=1"]
        code = make.main([*command, f"--root={quick_root}", f"--out={tmp_path}"])
        said = "\n".join(capsys.readouterr())
        assert code == 0, said
        record = tmp_path / f"{figure}.json"
        if not record.exists():
            assert "needs the data set" in said
            pytest.skip(said.strip())
        assert record.with_suffix(".pdf").exists() or record.with_suffix(".csv").exists()
        found = json.loads(record.read_text())
        assert found["runs"] or found["sources"], f"{figure} names neither a run nor a file"

    return draw
