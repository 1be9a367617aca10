"""What the tests of all kernels do not ask: worked values, what is not finite, far scores, the grid, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pallas_kernels.segment_softmax_pool import segment_softmax_pool
from pallas_kernels.segment_softmax_pool.staircase import Staircase, plan

IDS = jnp.asarray([0, 0, 2, 2, 2], jnp.int32)
ROWS = jnp.asarray([(1, 0), (2, 1), (0, 3), (4, 4), (-1, 2)], jnp.float32)
IMPLS = ["xla", "pallas_interpret"]


def test_worked_values():
    found = segment_softmax_pool(ROWS, ROWS, IDS, 3)
    expected = [(1.731058579, 0.731058579), (0, 0), (3.895661757, 3.575210383)]
    np.testing.assert_allclose(found.pooled, expected, rtol=1e-6)
    np.testing.assert_array_equal(found.log_sum[1], -jnp.inf)
    np.testing.assert_allclose(found.log_sum[0], np.log([np.e + np.e**2, 1 + np.e]), rtol=1e-6)


def test_heads_weigh_their_shares_of_the_channels():
    rng = np.random.default_rng(0)
    scores, values = (jnp.asarray(rng.normal(size=(5, n)), jnp.float32) for n in (2, 6))
    both = segment_softmax_pool(scores, values, IDS, 3)
    for head in range(2):
        share = slice(3 * head, 3 * head + 3)
        alone = segment_softmax_pool(scores[:, head], values[:, share], IDS, 3)
        np.testing.assert_allclose(both.pooled[:, share], alone.pooled, rtol=1e-6)
        np.testing.assert_allclose(both.log_sum[:, head], alone.log_sum, rtol=1e-6)
        one = segment_softmax_pool(scores[:, head : head + 1], values[:, share], IDS, 3)
        np.testing.assert_array_equal(one.log_sum, alone.log_sum[:, None])
        np.testing.assert_array_equal(one.pooled, alone.pooled)
        logs = segment_softmax_pool(scores[:, head], None, IDS, 3)
        assert logs.pooled is None
        np.testing.assert_array_equal(logs.log_sum, alone.log_sum)


def instance(channels):
    """256 elements, which fill a block, in 6 segments, the third and last without any; every fifth takes no part."""
    rng = np.random.default_rng(0)
    ids = np.sort(rng.choice([0, 1, 3, 4], size=256)).astype(np.int32)
    valid = np.arange(256) % 5 != 0
    scores = np.round(rng.normal(size=(256, 2) if channels else 256) * 8) / 8
    values, cotangent = rng.normal(size=(256, 2)), rng.normal(size=(6, 2))
    return [np.asarray(each, np.float32) for each in (scores, values, cotangent)], ids, valid


def runner(ids, valid, impl):
    """Pooled values, logarithms, and slopes of scores and values."""

    @jax.jit
    def run(scores, values, cotangent):
        def outputs(scores, values):
            return tuple(segment_softmax_pool(scores, values, ids, 6, valid=jnp.asarray(valid), impl=impl))

        found, pull = jax.vjp(outputs, scores, values)
        return *found, *pull((cotangent, jnp.ones_like(found[1])))

    return lambda *args: [np.asarray(each) for each in run(*args)]


@pytest.mark.parametrize("impl", IMPLS)
@pytest.mark.parametrize("channels", [False, True], ids=["elements", "channels"])
def test_what_is_not_finite_stays_where_it_is(channels, impl):
    arrays, ids, valid = instance(channels)
    run = runner(ids, valid, impl)
    expected = run(*arrays)
    assert all(np.isfinite(each).all() for each in (expected[0], *expected[2:]))
    np.testing.assert_array_equal(expected[0][[2, 5]], 0)
    np.testing.assert_array_equal(expected[1][[2, 5]], -np.inf)
    np.testing.assert_array_equal(expected[2][~valid], 0)
    np.testing.assert_array_equal(expected[3][~valid], 0)
    wild = [each.copy() for each in arrays]
    for each in wild[:2]:
        each[~valid] = np.resize([np.nan, np.inf, -np.inf], each[~valid].shape)
    wild[2][[2, 5]] = np.nan
    for ours, theirs in zip(run(*wild), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    place = np.flatnonzero(valid & (ids == 3))[2]
    of_segment = np.arange(6) == 3
    for number, odd in ((0, np.nan), (0, np.inf), (1, np.nan), (1, -np.inf), (2, np.nan), (2, np.inf)):
        wild = [each.copy() for each in arrays]
        wild[number][(3 if number == 2 else place, *([0] if wild[number].ndim == 2 else []))] = odd
        found = run(*wild)
        assert not all(np.isfinite(each).all() for each in (found[0], *found[2:]))
        for ours, theirs, inside in zip(found, expected, (of_segment, of_segment, ids == 3, ids == 3), strict=True):
            # The program that looks out for it is compiled apart, with roundings of its own.
            np.testing.assert_allclose(ours[~inside], theirs[~inside], rtol=1e-6, atol=1e-7)
        if number == 1 and odd == -np.inf:
            assert found[0][3, 0] == -np.inf


@pytest.mark.parametrize("impl", ["xla", pytest.param("pallas_interpret", marks=pytest.mark.slow)])
@pytest.mark.parametrize("channels", [False, True], ids=["elements", "channels"])
def test_only_differences_of_scores_count(channels, impl):
    """To the bit, in values and slopes: scores are eighths, and 4,096 more are so too."""
    (scores, *rest), ids, valid = instance(channels)
    run = runner(ids, valid, impl)
    found, expected = run(scores + 4096, *rest), run(scores, *rest)
    for number in (0, 2, 3):
        np.testing.assert_array_equal(found[number], expected[number])


@pytest.mark.parametrize(("elements", "num_segments"), [(1, 1), (130, 500), (5000, 3), (5000, 700), (3000, 3000)])
@pytest.mark.parametrize("spreads", [False, True])
def test_the_path_meets_every_element_and_every_segment(elements, num_segments, spreads):
    rng = np.random.default_rng(elements)
    for ids in (
        np.sort(rng.integers(0, num_segments, size=elements)),
        np.zeros(elements, int),
        np.full(elements, num_segments - 1),
    ):
        path = plan(elements, num_segments, 64, spreads=spreads)
        block = np.asarray(path.block_of(jnp.asarray(ids, jnp.int32)))
        tile = np.arange(path.steps) - block
        pairs = set(zip(block.tolist(), tile.tolist(), strict=True))
        met = zip((np.arange(elements) // path.rows).tolist(), (ids // path.segments).tolist(), strict=True)
        assert set(met) <= pairs
        for each, number in ((block, path.blocks), (tile, path.tiles)):
            assert (np.diff(each) >= 0).all()
            assert set(each.tolist()) == set(range(number))


def test_steps_do_not_depend_on_the_sizes_of_segments():
    path = Staircase(rows=128, segments=8, blocks=3, tiles=5)
    for ids in (np.zeros(384), np.full(384, 39), np.arange(384) // 10):
        assert path.block_of(jnp.asarray(ids, jnp.int32)).shape == (7,)


def test_vmap_is_a_loop():
    scores = jnp.stack([ROWS, -ROWS])
    run = lambda scores: segment_softmax_pool(scores, ROWS, IDS, 3).pooled  # noqa: E731
    np.testing.assert_allclose(jax.vmap(run)(scores), jnp.stack([run(ROWS), run(-ROWS)]), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": jnp.zeros(5, jnp.int32)}, r"scores must be float32 or float64 \[M\] .*, got int32 \(5,\)"),
        ({"scores": jnp.zeros((0, 2))}, r"scores must be .* with no axis empty, got float32 \(0, 2\)"),
        ({"scores": jnp.zeros((5, 3))}, "scores must have a number of heads that divides D=2, got 3"),
        ({"values": jnp.zeros((4, 2))}, r"values must be float32 \[5, D\] with D >= 1, got float32 \(4, 2\)"),
        ({"values": jnp.zeros((5, 2), jnp.bfloat16)}, r"values must be float32 .*, got bfloat16 \(5, 2\)"),
        ({"segment_ids": jnp.zeros(5)}, r"segment_ids must be integers \(5,\), got float32 \(5,\)"),
        ({"num_segments": 0}, "num_segments must be a Python int >= 1, got 0"),
        ({"valid": jnp.ones(5)}, r"valid must be bool \(5,\), got float32 \(5,\)"),
        ({"impl": "cuda"}, "impl must be None or one of"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"scores": ROWS, "values": ROWS, "segment_ids": IDS, "num_segments": 3} | change
    with pytest.raises(ValueError, match=message):
        segment_softmax_pool(**arguments)


@pytest.mark.parametrize(
    ("scores", "values", "why"),
    [
        (jnp.zeros(5), None, "one score for each element without values is left to XLA"),
        (jnp.zeros(5), jnp.zeros((5, 2048)), "D=2048 channels with one weight are more than 1024"),
    ],
)
def test_the_kernel_says_what_it_cannot_serve(scores, values, why):
    expected = rf"segment_softmax_pool\[pallas_interpret\]: {why}; use impl=None or 'xla'"
    with pytest.raises(NotImplementedError, match=expected):
        segment_softmax_pool(scores, values, IDS, 3, impl="pallas_interpret")


def test_double_precision_is_left_to_xla(x64):
    run = functools.partial(segment_softmax_pool, ROWS.astype(jnp.float64), ROWS.astype(jnp.float64), IDS, 3)
    with pytest.raises(NotImplementedError, match="scores are float64, the kernel computes in float32"):
        run(impl="pallas_tpu")
    np.testing.assert_allclose(run().pooled[0], (1.731058579, 0.731058579), rtol=1e-9)
