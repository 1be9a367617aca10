"""A checkpoint comes back bit for bit or not at all; the one before it takes its place."""

import gc
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lib import checkpoint, errors

# A read that fails inside tensorstore leaves futures behind whose errors nobody asks for.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collected():
    """Such a future must not be found during a test of another module."""
    yield
    gc.collect()


def state_at(step):
    """Every kind of leaf: typed keys, small and large arrays, scalars, booleans, an empty one."""
    key = jax.random.key(step)
    return {
        "key": jax.random.split(key, 3),
        "legacy": {"step": jnp.int32(step), "flag": jnp.asarray(step % 2 == 0)},
        "weights": (jax.random.normal(key, (300, 70)), jnp.zeros((3, 0))),
    }


def like():
    return jax.tree.map(jnp.zeros_like, state_at(0))


def assert_same_bits(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        if jax.dtypes.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def opened(folder, **clocks):
    said = []
    return checkpoint.Checkpoints(folder, said.append, **clocks), said


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A folder with checkpoints 4 and 8."""
    folder = tmp_path_factory.mktemp("two") / "checkpoints"
    manager, _ = opened(folder)
    for step in (4, 8):
        manager.save(step, state_at(step))
    manager.close()
    return folder


@pytest.fixture
def folder(two, tmp_path):
    shutil.copytree(two, tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def restore(folder, usable=lambda step: True):
    manager, said = opened(folder)
    found = manager.restore(like(), usable)
    manager.close()
    return found, said


def test_the_newest_comes_back(folder):
    (step, state), said = restore(folder)
    assert (step, said) == (8, [])
    assert_same_bits(state, state_at(8))


def test_the_last_two_are_kept(tmp_path):
    manager, _ = opened(tmp_path / "c")
    for step in range(1, 6):
        manager.save(step, state_at(step))
    manager.close()
    assert sorted(int(entry.name) for entry in (tmp_path / "c").iterdir()) == [4, 5]


def test_nothing_saved_is_nothing_restored(tmp_path):
    assert restore(tmp_path / "c") == (None, [])
    assert not (tmp_path / "c").exists()


def _truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path):
    content = bytearray(path.read_bytes())
    if content:
        content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def _zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def _remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [_truncate, _flip, _zero, _remove])
def test_a_damaged_newest_gives_way_to_the_one_before(two, tmp_path, damage):
    """Each file in turn. Files that carry nothing may be lost: then the newest must come back with its own bits."""
    names = [path.relative_to(two) for path in sorted((two / "8").rglob("*")) if path.is_file()]
    skipped = 0
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        shutil.copytree(two, folder)
        damage(folder / name)
        (step, state), said = restore(folder)
        assert_same_bits(state, state_at(step))
        if step == 4:
            skipped += 1
            assert len(said) == 1, name
            assert said[0].startswith("checkpoint 8 is damaged and skipped (")
            assert "\n" not in said[0]
    assert skipped >= 2


def test_after_a_damaged_one_its_step_can_be_saved_again(folder):
    for path in (folder / "8").rglob("*"):
        if path.is_file():
            _truncate(path)
    manager, said = opened(folder)
    step, state = manager.restore(like(), lambda step: True)
    assert (step, len(said)) == (4, 1)
    manager.save(8, state_at(8))
    manager.close()
    (step, state), said = restore(folder)
    assert (step, said) == (8, [])
    assert_same_bits(state, state_at(8))


def test_a_half_written_one_is_not_seen(folder):
    (folder / "8").rename(folder / "8.orbax-checkpoint-tmp")
    (step, state), said = restore(folder)
    assert (step, said) == (4, [])
    assert_same_bits(state, state_at(4))


def test_one_without_its_rows_is_skipped(folder):
    (step, _), said = restore(folder, usable=lambda step: step == 4)
    assert step == 4
    assert said == ["checkpoint 8 is damaged and skipped (rows before it are missing)"]


def test_when_all_are_damaged_the_run_begins_anew(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            _zero(path)
    found, said = restore(folder)
    assert found is None
    assert [line.split(" (")[0] for line in said] == [f"checkpoint {step} is damaged and skipped" for step in (8, 4)]


def test_a_state_of_another_program_is_an_error_and_stays(folder):
    manager, said = opened(folder)
    other = like() | {"legacy": {"step": jnp.int32(0), "flag": jnp.zeros(2, bool)}}
    with pytest.raises(errors.RunError, match=r"checkpoint 8 is of another program .*; use --overwrite"):
        manager.restore(other, lambda step: True)
    manager.close()
    assert said == []
    assert (folder / "8").exists()


def test_restored_arrays_live_where_the_target_does(folder):
    """On one device; eight are tried in a process of their own, in test_resume."""
    (_, state), _ = restore(folder)
    assert all(leaf.sharding == target.sharding for leaf, target in zip(
        jax.tree.leaves(state), jax.tree.leaves(like()), strict=True))  # fmt: skip


def test_the_state_may_be_donated_right_after_saving(tmp_path):
    manager, _ = opened(tmp_path / "c")
    advance = jax.jit(lambda x: x + 1, donate_argnums=0)
    state = jnp.zeros((1000, 1000))
    manager.save(1, state)
    for _ in range(20):
        state = advance(state)
    manager.close()
    manager, said = opened(tmp_path / "c")
    _, found = manager.restore(jnp.ones((1000, 1000)), lambda step: True)
    manager.close()
    assert said == []
    assert float(jnp.abs(found).max()) == 0.0


def test_clock_of_steps(tmp_path):
    manager, _ = opened(tmp_path / "c", every_steps=10, every_minutes=60)
    assert [step for step in range(4, 41, 4) if manager.due(step)] == list(range(12, 41, 4))
    manager._last_step = 12
    assert [step for step in (16, 20, 24) if manager.due(step)] == [20, 24]
    assert [step for step in (16, 20, 24) if manager.worth_keeping(step)] == [20, 24]


def test_clock_of_minutes(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    manager, _ = opened(tmp_path / "c", every_minutes=2)
    assert not manager.due(4)
    assert not manager.worth_keeping(4)
    now[0] += 119
    assert not manager.due(4)
    assert manager.worth_keeping(4)
    now[0] += 1
    assert manager.due(4)


def test_what_cannot_be_written_is_one_line(tmp_path):
    """The folder is a file: the error comes from orbax's thread, at the latest when it is waited for."""
    (tmp_path / "c").write_text("")
    manager, _ = opened(tmp_path / "c")

    def save_and_wait():
        manager.save(4, state_at(4))
        manager.wait()

    with pytest.raises(errors.RunError, match=r"/c: checkpoint 4 cannot be written \([^\n]+\)$"):
        save_and_wait()


def test_what_cannot_be_written_holds_nothing_up(tmp_path):
    """And the process ends: no thread of orbax waits for a folder that will never be there."""
    (tmp_path / "c").write_text("")
    script = """
import sys
import jax.numpy as jnp
from experiments.lib import checkpoint, errors
manager = checkpoint.Checkpoints(sys.argv[1], print)
try:
    manager.save(4, {"x": jnp.zeros(3)})
    manager.wait()
except errors.RunError as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "c")], capture_output=True, text=True, timeout=100
    )
    assert ended.stdout.count("cannot be written") == ended.stdout.count("\n") == 1
    assert ended.stderr == ""
