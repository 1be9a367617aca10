"""The normative randomness: words, variates, tables of levels, systematic levels, nets of leaves."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from research.mlmc import leaves, levels, oracles, words


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
        ((1, 2), (3, 4), (0x5DF433EC, 0x8617198E)),
    ],
)
def test_threefry(key, counter, expected):
    made = words.replicate_keys(tuple(map(jnp.uint32, key)), tuple(map(jnp.uint32, counter)))
    assert tuple(map(int, made)) == expected == oracles.threefry(key, counter)


def test_uniform_and_normal_never_reach_their_ends():
    word = jnp.asarray([0, 0xFFFFFFFF, 0x80000000], jnp.uint32)
    np.testing.assert_array_equal(
        np.asarray(words.uniform(word), np.float64), [5.960464477539063e-08, 0.9999999403953552, 0.5000000596046448]
    )
    expected = [-5.294704084854597, 5.294704084854597, 1.494066879e-07]
    np.testing.assert_allclose(words.normal(word), expected, rtol=2e-6)


def test_ids_are_64_bits_wide():
    numbers = [5, (1 << 32) - 1, (1 << 40) + 7, (1 << 64) - 1]
    low, high = words.split(numbers)
    np.testing.assert_array_equal(words.join((low, high)), np.array(numbers, np.uint64))
    after = words.next_ids((jnp.asarray(low[:3]), jnp.asarray(high[:3])), 9)
    np.testing.assert_array_equal(words.join(after), np.array(numbers[:3], np.uint64) + np.uint64(9))
    with pytest.raises(ValueError, match="ids must be integers"):
        words.split([-1])


def test_tables_of_levels():
    law = levels.Geometric(0.6)
    assert law.last == 15
    assert law.thresholds[1:5] == (1717986918, 687194767, 274877907, 109951163)
    assert law.thresholds[15] == 4612
    np.testing.assert_allclose(
        [law.pmf(0), law.pmf(14), law.pmf(15)], [0.60000000009, 1.6104895622e-6, 6.4428895722e-7], rtol=1e-10
    )
    law = levels.Geometric(0.74)
    assert (law.last, law.thresholds[1], law.thresholds[10]) == (10, 1116691497, 6063)
    np.testing.assert_allclose(law.table(400).sum(), 1, rtol=1e-12)
    np.testing.assert_allclose(law.tails(30)[1:], 1 - np.cumsum(law.table(29)), atol=1e-12)


def test_a_level_goes_on_with_the_next_word_at_the_end_of_the_table():
    law = levels.Geometric(0.6, cut=2**30)
    assert law.last == 1
    first = jnp.asarray([0xFFFFFFFF, 0, 0], jnp.uint32)
    second = jnp.asarray([0, 0xFFFFFFFF, 0], jnp.uint32)
    level, third = levels.draw(law, (first, second))
    np.testing.assert_array_equal(level, [0, 1, 2])
    np.testing.assert_array_equal(third, [False, False, True])


def test_systematic_levels():
    level, beyond = levels.systematic(0.6, 10, jnp.uint32(1 << 31))
    np.testing.assert_array_equal(level, [0, 0, 0, 0, 0, 0, 1, 1, 2, 3])
    level, beyond = levels.systematic(0.58, 16, jnp.uint32(1 << 30))
    np.testing.assert_array_equal(level, [0] * 10 + [1, 1, 1, 2, 2, 3])
    assert not beyond.any()
    # The last of many: 1 - (i + u)/size rounds to zero in float32.
    level, beyond = levels.systematic(0.6, 4096, jnp.uint32(0xFFFFFFFF))
    counts = np.bincount(level[level < 12])
    expected = 4096 * 0.6 * 0.4 ** np.arange(len(counts))
    assert np.all(np.abs(counts - expected) < 1 + 1e-6)


def test_directions_are_those_of_the_sobol_sequence():
    number = 1 << 9
    ours = np.stack([leaves.points(jnp.arange(number), j) for j in range(leaves.MAX_COORDINATES)], axis=-1)
    theirs = stats.qmc.Sobol(leaves.MAX_COORDINATES, scramble=False, bits=32).random(number)
    # SciPy goes through the points in the order of a Gray code.
    index = np.arange(number)
    np.testing.assert_array_equal(ours[index ^ (index >> 1)], (theirs * 2.0**32).astype(np.uint32))
