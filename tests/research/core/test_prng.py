"""Draws are a function of (seed, stream name, replicate, step), and of nothing else."""

import jax
import numpy as np
import pytest

from research.core import prng


def uniform(key, block):
    return jax.random.uniform(key, (block, 3))


def data(key):
    return np.asarray(jax.random.key_data(key))


def test_root_key_is_pinned_to_threefry():
    with jax.default_prng_impl("rbg"):
        key = prng.root_key(7)
    assert str(jax.random.key_impl(key)) == "threefry2x32"
    np.testing.assert_array_equal(data(key), [0, 7])


def test_stream_is_keyed_by_the_crc_of_its_name():
    key = prng.root_key(0)
    np.testing.assert_array_equal(data(prng.stream(key, "arrivals")), data(jax.random.fold_in(key, 0xD7595DC2)))
    assert not np.array_equal(data(prng.stream(key, "arrivals")), data(prng.stream(key, "arrival")))


def test_fewer_replicates_are_a_prefix_of_more():
    key = prng.root_key(3)
    eight = data(prng.replicate_keys(key, 8))
    np.testing.assert_array_equal(data(prng.replicate_keys(key, 3)), eight[:3])
    np.testing.assert_array_equal(data(prng.replicate_keys(key, 2, first=5)), eight[5:7])
    np.testing.assert_array_equal(data(prng.per_replicate(key, 5)), eight[5])


@pytest.mark.parametrize("chunk", [1, 7, 16, 50, 100])
def test_blocked_draws_do_not_depend_on_the_chunk(chunk):
    key = prng.root_key(1)
    whole = prng.blocked(uniform, key, 0, 100, block=16)
    chunks = [prng.blocked(uniform, key, k, min(chunk, 100 - k), block=16) for k in range(0, 100, chunk)]
    np.testing.assert_array_equal(np.concatenate(chunks), whole)


@pytest.mark.parametrize("num_steps", [1, 2, 16, 18, 33])
def test_blocked_with_a_traced_start_equals_a_static_one(num_steps):
    key = prng.root_key(1)
    whole = prng.blocked(uniform, key, 0, 80, block=16)
    traced = jax.jit(lambda start: prng.blocked(uniform, key, start, num_steps, block=16))
    for start in (0, 1, 15, 16, 17, 31):
        np.testing.assert_array_equal(traced(start), whole[start : start + num_steps])
    np.testing.assert_array_equal(prng.blocked(uniform, key, 15, num_steps, block=16), whole[15 : 15 + num_steps])


def test_a_step_of_a_block_is_the_row_of_the_block_key():
    key = prng.root_key(9)
    expected = uniform(prng.per_step(key, 2), prng.BLOCK)[5]
    np.testing.assert_array_equal(prng.blocked(uniform, key, 2 * prng.BLOCK + 5, 1)[0], expected)


def test_blocked_refuses_no_steps():
    with pytest.raises(ValueError, match=r"num_steps must be >= 1, got 0\."):
        prng.blocked(uniform, prng.root_key(0), 0, 0)
