"""Training of language models as an experiment: rows, killed and resumed, what the metrics say."""

import random
import signal
import time

import numpy as np
import pytest

from experiments.balancing import contest, lm_program, panels_lm_schedules
from experiments.data.fetch import DataError
from experiments.lib import config as config_lib
from experiments.lib import rundir
from experiments.lib.config import CHECKOUT
from research.balancing import model_sizes

CONFIG = "configs/balancing/lm_schedules.py:quick"
SCRIPT = CHECKOUT / "experiments/balancing/lm_schedules.py"
SAME = ("metrics.jsonl", "curves.npz", "results.npz", "config.json")


def test_rows_are_read():
    found = contest.rows(["none", "aux 0.01", "aux_global 1e-3", "sign inv_sqrt 0.1", "quantile"])
    assert found == [
        ("none", 0.0), ("aux", 0.01), ("aux_global", 1e-3), ("sign inv_sqrt", 0.1), ("quantile", 0.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "row", ["", "nothing", "aux", "aux x", "sign 0.1", "sign const", "sign const -1", "sign cnst 0.1", "sign const 1 2"]
)
def test_rows_that_are_none_are_refused(row):
    with pytest.raises(ValueError, match=f"row must be none, quantile, aux A.*got {row!r}"):
        contest.rows([row])


def test_a_stacked_contest_has_one_router_for_each_row():
    size = model_sizes.size("tiny")
    texts = ("none", "prop const 0.2", "aux 0.01", "sign inv 1", "quantile")
    made = contest.contest(size, texts, gate="sigmoid", sequences=2)
    assert made.kind.tolist() == [0, 0, 0, 1, 2]
    assert [rule.rule for rule in made.updates] == ["prop", "sign"]
    np.testing.assert_allclose(made.updates[0].step_size, [0, 0.2, 0, 1, 0])
    np.testing.assert_allclose(made.local_weight, [0, 0, 0.01, 0, 0])
    assert (made.sequences, made.sweeps) == (2, 2)
    assert contest.contest(size, ("none",), gate="softmax", sequences=2).sweeps == 0


def test_metrics(player):
    """Loads on the validation text are whole, and MaxVio is theirs; the bias moves by u a step, and only where told."""
    overrides = {"algo.rows": ("none", "sign const 0.01"), "run.num_steps": 4, "run.chunk": 2}
    config, curves = player("balancing")("lm_schedules.py:quick", overrides)
    size, total = model_sizes.size(config.problem.size), 0
    for domain in ("code", "prose"):
        load = curves[f"load/2/{domain}"].reshape(-1, 1, 2, size.experts)
        np.testing.assert_array_equal(load.sum(axis=-1), size.top_k * config.run.windows * config.run.length)
        total = total + load
    np.testing.assert_allclose(curves["global_violation/2"], total.max(axis=-1) / total.mean(axis=-1) - 1, rtol=1e-5)
    spread = curves["spread/1"][:, 0]
    assert spread[:, 0].tolist() == [0, 0]
    assert (spread[:, 1] > 0).all()
    assert (spread[:, 1] <= 2 * 0.01 * np.array([2, 4]) * (1 + 1e-6)).all()
    assert (np.diff(curves["loss"][:, 0], axis=0) < 0).all()
    assert np.ptp(curves["loss"][0, 0]) < 0.05  # the same weights at first, and the same batches


def test_a_text_of_another_sha256_is_refused():
    wrong = config_lib.resolve(CONFIG, {"problem.sha256": "0" * 64}).config
    with pytest.raises(DataError, match="pylib must have sha256 0000.*, found [0-9a-f]{64}"):
        lm_program.corpus(wrong.problem)


def test_texts_that_do_not_fit_are_refused():
    small = config_lib.resolve(CONFIG, {"problem.capacity": 2**20}).config
    with pytest.raises(DataError, match=r"pylib: config\.problem\.capacity must be >= [\d,]+ tokens\."):
        lm_program._text(small.problem)
    few = config_lib.resolve(CONFIG, {"problem.documents": 100}).config
    with pytest.raises(DataError, match=r"pylib: config\.problem\.documents must be >= [\d,]+\."):
        lm_program._text(few.problem)


def test_stripes_are_consecutive_parts_of_the_text():
    config = config_lib.resolve(CONFIG, {"problem.stripes": 4}).config
    made, whole = lm_program._text(config.problem), lm_program.corpus(config.problem)
    length = int(made.used[0])
    assert (made.used == length).all()
    assert length == len(whole.tokens) // 4
    np.testing.assert_array_equal(made.tokens[:, :length].reshape(-1), whole.tokens[: 4 * length])
    second = made.starts[1][made.starts[1] < length]
    inside = whole.starts[(whole.starts > length) & (whole.starts < 2 * length)] - length
    np.testing.assert_array_equal(second, np.concatenate([[0], inside]))


@pytest.mark.slow
def test_panels_and_results(finished):
    run = finished("balancing")("lm_schedules.py:quick")
    assert panels_lm_schedules.travelled(run).value <= 1 + 1e-5
    for domain in ("code", "prose"):
        found = panels_lm_schedules.utilisation(run, "none", domain)
        assert found.shape == (3, 16)
        np.testing.assert_allclose(found.mean(axis=1), 1)
    assert str(run.results["sha256"]) == lm_program.corpus(run.config.problem).sha256
    assert run.results["domain_tokens"].sum() == run.results["train_tokens"]


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bytes(start, environment, tmp_path):
    """Every chunk is saved; the kill comes at a random time after the first. Biases are among what is restored: the
    spreads and loads of later chunks are in the compared files."""
    flags = [f"--config={CONFIG}", "--config.run.num_steps=24", "--checkpoint_minutes=0", "--quiet"]
    overrides = {"run.num_steps": 24}
    undisturbed = start(*flags, f"--root={tmp_path / 'whole'}", script=SCRIPT)
    out, err = undisturbed.communicate(timeout=600)
    assert undisturbed.returncode == 0, err
    expected = rundir.find(CONFIG, tmp_path / "whole", overrides)
    process = start(*flags, f"--root={tmp_path / 'killed'}", script=SCRIPT)
    folder = rundir.find(CONFIG, tmp_path / "killed", overrides)
    _wait_for_checkpoint(process, folder)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    again = start(*flags, f"--root={tmp_path / 'killed'}", script=SCRIPT)
    out, err = again.communicate(timeout=600)
    assert again.returncode == 0, err
    assert f"resumes {folder} at step " in err
    for name in SAME:
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name


def _wait_for_checkpoint(process, folder):
    while not any(entry.name.isdecimal() for entry in folder.glob("checkpoints/*")) and process.poll() is None:
        time.sleep(0.02)
    time.sleep(random.Random(0).uniform(0, 0.3))
    assert process.poll() is None, process.communicate()
