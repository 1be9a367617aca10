"""Poolings of frozen states: users' files, independence of the contest, and the correlation of classes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from experiments.data import state_files
from experiments.data.fetch import DataError
from experiments.lib import config as config_lib
from experiments.pooling import frozen_states

NAME = "frozen_states.py:quick"
CONFIG = f"configs/pooling/{NAME}"
FEW = {"algo.poolings": ("last", "graph")}


def write(folder, part, states):
    for name, values in states._asdict().items():
        np.save(folder / f"{part}_{name}.npy", values)


def test_a_folder_of_states_gives_the_curves_of_the_same_numbers_in_memory(play, tmp_path):
    _, expected = play(NAME, FEW)
    problem = config_lib.resolve(CONFIG).config.problem
    for part in ("train", "validation"):
        write(tmp_path, part, frozen_states.synthetic(problem, part))
    _, found = play(NAME, FEW | {"problem.source": str(tmp_path)})
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_pooling_is_trained_as_if_alone(play):
    _, together = play(NAME, FEW)
    _, alone = play(NAME, {"algo.poolings": ("graph",)})
    np.testing.assert_allclose(alone["loss/graph"], together["loss/graph"], rtol=1e-5)
    np.testing.assert_allclose(alone["validation/loss/graph"], together["validation/loss/graph"], rtol=1e-5)
    assert "loss/last" not in alone


def test_parts_share_topics_and_no_sequence():
    problem = config_lib.resolve(CONFIG).config.problem
    train, validation = (frozen_states.synthetic(problem, part) for part in ("train", "validation"))
    rows = {row.tobytes() for row in np.asarray(train.states)}
    assert not rows & {row.tobytes() for row in np.asarray(validation.states)}
    assert train.states.dtype == np.float16
    assert (train.lengths == 31).all()  # 29 distractors of 32 places, a target and a modifier


@pytest.mark.parametrize("classes", [2, 4])
def test_matthews_is_that_of_scikit_learn(classes):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 200)
    told = np.where(rng.random(200) < 0.6, labels, rng.integers(0, classes, 200))
    found = jax.jit(frozen_states.matthews, static_argnums=2)(jnp.asarray(told), jnp.asarray(labels), classes)
    np.testing.assert_allclose(found, matthews_corrcoef(labels, told), rtol=1e-5)
    assert float(frozen_states.matthews(jnp.zeros(200, int), jnp.asarray(labels), classes)) == 0


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"states": np.zeros((3, 5, 2), np.float32)}, r"train_states\.npy must hold float16 of shape \[n, 4, 2\]"),
        ({"lengths": np.array([4, 0, 1])}, r"train_lengths\.npy must hold lengths in 1\.\.4, found 0\.\.4"),
        ({"lengths": np.array([4, 5, 1])}, r"train_lengths\.npy must hold lengths in 1\.\.4, found 1\.\.5"),
        ({"labels": np.array([0, 1, 2])}, r"train_labels\.npy must hold labels in 0\.\.1, found 0\.\.2"),
        ({"labels": np.array([0, 1])}, r"train_labels\.npy must have 3 rows, found 2"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told(tmp_path, changed, says):
    states = state_files.States(np.zeros((3, 4, 2), np.float16), np.array([4, 2, 1]), np.array([0, 1, 1]))
    write(tmp_path, "train", states._replace(**changed))
    with pytest.raises(DataError, match=says):
        state_files.read(tmp_path, "train", count=3, length=4, channels=2, dtype="float16", classes=2)


def test_an_unknown_pooling_is_refused(play):
    with pytest.raises(ValueError, match=r"config\.algo\.poolings must be one of .*, got 'median'"):
        play(NAME, {"algo.poolings": ("median",)})
