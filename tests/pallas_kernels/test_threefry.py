"""One generator for jnp and for kernels: the same bits as jax.random."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas as pl

from pallas_kernels import _threefry


def _key(seed):
    return jax.random.key(seed, impl="threefry2x32")


def test_known_answers():
    """Vectors published with the generator's reference implementation: zeros, ones, digits of pi."""
    vectors = [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]
    for key, counter, expected in vectors:
        got = _threefry.threefry_2x32(key, [jnp.uint32(c) for c in counter])
        assert tuple(int(word) for word in got) == expected


@pytest.mark.parametrize("shape", [(), (1,), (7,), (33, 5), (2, 3, 4)])
@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_bits_and_uniforms_equal_jax_random(seed, shape):
    key = jax.random.fold_in(_key(seed), 5)
    np.testing.assert_array_equal(_threefry.bits(key, shape), jax.random.bits(key, shape))
    np.testing.assert_array_equal(_threefry.uniform(key, shape), jax.random.uniform(key, shape))


def test_normals_equal_jax_random():
    key = _key(3)
    np.testing.assert_array_equal(jax.jit(lambda k: _threefry.normal(k, (4096,)))(key), jax.random.normal(key, (4096,)))


def test_a_kernel_draws_its_block_of_the_stream():
    key, rows, columns = _key(11), 16, 128

    def draw(words, out):
        place = jax.lax.broadcasted_iota(jnp.uint32, (8, columns), 0) * columns
        place += jax.lax.broadcasted_iota(jnp.uint32, (8, columns), 1)
        start = (pl.program_id(0) * 8 * columns).astype(jnp.uint32)
        out[...] = _threefry.block_bits((words[0, 0], words[0, 1]), place + start)

    drawn = pl.pallas_call(
        draw,
        grid=(rows // 8,),
        out_shape=jax.ShapeDtypeStruct((rows, columns), jnp.uint32),
        out_specs=pl.BlockSpec((8, columns), lambda i: (i, 0)),
        interpret=True,
    )(jax.random.key_data(key)[None])
    np.testing.assert_array_equal(drawn, jax.random.bits(key, (rows, columns)))


def test_another_kind_of_key_is_refused():
    with pytest.raises(ValueError, match="key must be of kind threefry2x32, got rbg"):
        _threefry.bits(jax.random.key(0, impl="rbg"), (3,))
