"""The README's first command, short of installing: every experiment in its quick form, every figure, every claim.

Programs are compiled without most optimisations, as in other tests (`conftest.py`): half of the time went there.
"""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_every_quick_figure_is_drawn_and_no_claim_differs(tmp_path):
    command = [sys.executable, "-m", "paper_figures.make", "--form=quick", "--recompute", "--check"]
    command += [f"--root={tmp_path / 'runs'}", f"--out={tmp_path / 'out'}"]
    cheap = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"} | os.environ
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, env=cheap)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-3000:]
    drawn = sorted((tmp_path / "out").rglob("*.json"))
    assert drawn, found.stdout
    for record in drawn:
        assert record.with_suffix(".pdf").exists() or record.with_suffix(".csv").exists()
        found = json.loads(record.read_text())
        assert found["runs"] or found["sources"], f"{record.name} names neither a run nor a file"
