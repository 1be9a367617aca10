"""The commands of README.md work as printed."""

import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from experiments.data import fetch

ROOT = pathlib.Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)).replace("\\\n", " ")
LINES = [line.split("#")[0].strip() for line in BLOCKS.splitlines() if line.split("#")[0].strip()]
LINES += re.findall(r"^- `(python -m [^`]+)`", TEXT, re.MULTILINE)
#: Minutes, a compiler for TPUs, the peers of `make bench`, or a full run once more: `-m slow`.
LONG = ("paper", "experiments.bench", "--config.algo", "--topology")


def run(command, **kwargs):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, **kwargs)


def test_the_readme_names_its_two_commands():
    assert [line for line in LINES if line.startswith("make ")] == ["make figures", "make test"]


@pytest.mark.parametrize("target", ["figures", "test", "test-all", "bench", "pins"])
def test_make_knows_its_targets(target):
    found = run(["make", "-n", target])
    assert found.returncode == 0, found.stderr


def test_an_old_python_gets_one_line(tmp_path):
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.1" || exit 1\n')
    old.chmod(0o755)
    found = run(["make", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}", "figures"])
    assert found.returncode != 0
    said = [line for line in found.stdout.splitlines() if "Equipoise needs Python >= 3.11" in line]
    assert len(said) == 1
    assert "Python 3.9.1" in said[0]


def perform(line, tmp_path):
    words = shlex.split(line)
    assert words[:2] == ["python", "-m"], line
    if words[2] == "experiments.aot" and importlib.util.find_spec("libtpu") is None:
        pytest.skip("no TPU compiler (extra tpu)")
    if words[2] != "experiments.aot" and "medical" in line and not fetch.cached("insurance"):
        pytest.skip("the medical costs data is not cached")
    if words[2].startswith("experiments.regret") or words[2] == "paper_figures.make":
        words.append(f"--root={tmp_path / 'runs'}")
    if words[2] == "paper_figures.make":
        words.append(f"--out={tmp_path / 'out'}")
    if words[2] == "experiments.sweep":  # what it would run is enough here; `test_sweep` runs some
        words = [word for word in words if word != "--submit"]
        words.append(f"--root={tmp_path / 'runs'}")
    if words[2] == "experiments.bench":
        words += ["--quick", f"--out={tmp_path / 'bench.jsonl'}"]
    if "--distributed" in words:  # there are no other hosts here: it is understood, and says so
        found = run([sys.executable, *words[1:], "--distributed_seconds=2", f"--root={tmp_path}"])
        assert found.returncode == 1
        assert found.stderr.startswith("error: --distributed: ")
        return
    found = run([sys.executable, *words[1:]])
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    "line", [line for line in LINES if line.startswith("python") and not any(w in line for w in LONG)]
)
def test_a_command_works(line, tmp_path):
    perform(line, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("python") and any(w in line for w in LONG)])
def test_a_long_command_works(line, tmp_path):
    perform(line, tmp_path)
