"""`make figures`, short of installing: runs in processes of their own, the figure, the table of claims.

One small figure goes all the way. The others of a family that has a file in `tests/paper_figures` are drawn there, from
runs done within the test's process: starting one each would be the larger part of their time. Those of a family without
such a file are drawn here.
"""

import json
import os
import pathlib
import subprocess
import sys

from paper_figures import catalog, claims

ROOT = pathlib.Path(__file__).resolve().parents[1]
ONE = "matching/fig_worst_case"


def test_figures_are_made_from_nothing_and_no_claim_differs(tmp_path):
    elsewhere = {path.stem for path in (ROOT / "tests/paper_figures").glob("test_*_figures.py")}
    names = [entry.name for entry in catalog.entries()]
    wanted = [ONE, *(name for name in names if f"test_{name.partition('/')[0]}_figures" not in elsewhere)]
    command = [sys.executable, "-m", "paper_figures.make", "--form=quick", "--recompute", "--check"]
    command += [f"--only={','.join(wanted)}", f"--root={tmp_path / 'runs'}", f"--out={tmp_path / 'out'}"]
    environment = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"} | os.environ
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env=environment)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-3000:]
    record = tmp_path / "out" / f"{ONE}.json"
    assert record.with_suffix(".pdf").exists()
    assert json.loads(record.read_text())["runs"]
    assert all(claim["verdict"] != claims.DIFFERS for claim in json.loads(record.read_text())["claims"])
