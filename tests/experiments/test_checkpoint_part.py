"""Some arrays of another run's checkpoint: those asked for, to the bit, or one line."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.lib import checkpoint, checkpoint_part, errors
from experiments.lib import mesh as mesh_lib


def state_at(step):
    key = jax.random.key(step)
    weights = {"deep": {"kernel": jax.random.normal(key, (2, 30, 7))}, "head": jnp.ones((2, 7))}
    return weights, jnp.zeros((0, 3)), {"moments": jnp.full((2, 7), 3.0)}, jax.random.split(key, 2)


def like(state):
    to = NamedSharding(mesh_lib.build({"rep": 1}), P())
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=to), state)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("other") / "checkpoints"
    kept = checkpoint.Checkpoints(folder, print)
    for step in (4, 8):
        kept.save(step, state_at(step))
    kept.close()
    return folder


def test_the_newest_ones_part_comes_back_and_nothing_there_changes(folder):
    before = sorted(str(path) for path in folder.rglob("*"))
    weights = state_at(8)[0]
    wanted = ({"deep": weights["deep"]},)
    step, found = checkpoint_part.part(folder, like(wanted))
    assert step == 8
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    np.testing.assert_array_equal(found[0]["deep"]["kernel"], weights["deep"]["kernel"])
    assert sorted(str(path) for path in folder.rglob("*")) == before


def test_what_is_not_there_is_named(folder, tmp_path):
    weights = state_at(8)[0]
    with pytest.raises(errors.RunError, match=r"\[0\]\['body'\] \[2, 7\] float32 is wanted, nothing there is kept"):
        checkpoint_part.part(folder, like(({"body": weights["head"]},)))
    says = r"\[0\]\['head'\] \[2, 9\] float32 is wanted, \[0\]\['head'\] \[2, 7\] float32 is kept"
    with pytest.raises(errors.RunError, match=says):
        checkpoint_part.part(folder, like(({"head": jnp.zeros((2, 9))},)))
    with pytest.raises(errors.RunError, match=r"none has no checkpoint; runs of seconds keep one with"):
        checkpoint_part.part(tmp_path / "none", like((weights,)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damage_is_told_and_not_removed(folder, tmp_path):
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    for path in (copied / "8" / "stamp").rglob("*"):
        if path.is_file() and b"checksum" in path.read_bytes():
            path.write_bytes(path.read_bytes().replace(b"float32", b"float64"))
    with pytest.raises(errors.RunError, match="checkpoint 8 is damaged"):
        checkpoint_part.part(copied, like((state_at(8)[0],)))
    assert (copied / "8").is_dir()
