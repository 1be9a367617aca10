"""What the tests of all kernels do not ask: steps of the way back, bits, what is absent, plans, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels.monoid_tree import api, cases, cell, kernel_tpu, kernel_tpu_back, monoid_tree
from pallas_kernels.monoid_tree.plan import most_elements, plan


def instance(collections, elements, channels, share=0.7):
    rng = np.random.default_rng(0)
    sizes = ((channels, 3 * channels),) * 2 + ((3 * channels,),) * 2
    weights = [jnp.asarray(rng.uniform(-1, 1, size) * channels**-0.5, jnp.float32) for size in sizes]
    x = jnp.asarray(rng.normal(size=(collections, elements, channels)), jnp.float32)
    return x, jnp.asarray(rng.random((collections, elements)) < share), *weights


def slopes(*args, impl):
    """Derivatives in x and in the weights of a random linear function of the value."""
    return compiled(impl)(*args, cotangent(args[0]))[1]


@functools.cache
def compiled(impl):
    return jax.jit(functools.partial(cases.gradient, impl=impl))


def cotangent(x):
    return jnp.asarray(np.random.default_rng(1).normal(size=(x.shape[0], x.shape[2])), jnp.float32)


@pytest.mark.parametrize("elements", [1, 6, 7])
def test_xla_is_the_reference(elements):
    """Every remainder of a level; values and derivatives."""
    args = instance(4, elements, 3)
    for ours, theirs in zip(slopes(*args, impl="xla"), slopes(*args, impl="reference"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6 * max(1, float(jnp.max(jnp.abs(theirs)))))


@functools.partial(jax.jit, static_argnames="mode")
def in_steps(*args, mode):
    *args, cotangent = args
    sizes = {"chunk": 32, "kept": 16, "interpret": mode}
    _, left = kernel_tpu.forward(*args, keep=True, **sizes)
    return kernel_tpu_back.backward(*args, left, cotangent, **sizes)


@pytest.mark.parametrize("mode", [True, pytest.param("strict", marks=pytest.mark.slow)])
def test_the_way_back_in_steps(mode, capfd):
    """Collections of several chunks and steps, of which the last one has a collection that does not exist."""
    args = instance(3, 64, 5)
    strict = pltpu.InterpretParams(detect_races=True, uninitialized_memory="nan")
    got = in_steps(*args, cotangent(args[0]), mode=strict if mode == "strict" else mode)
    assert "RACE DETECTED" not in "".join(capfd.readouterr())
    for ours, theirs in zip(got, slopes(*args, impl="xla"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1, float(jnp.max(jnp.abs(theirs)))))


@pytest.mark.optimized
def test_it_is_commutative_to_the_bit():
    x, mask, *weights = instance(40, 2, 5)
    run = jax.jit(functools.partial(monoid_tree, impl="pallas_interpret"))
    np.testing.assert_array_equal(run(x, mask, *weights), run(x[:, ::-1], mask[:, ::-1], *weights))


@pytest.mark.parametrize("impl", ["xla", "pallas_interpret"])
def test_what_is_absent_touches_nothing(impl):
    """To the bit, whatever stands there: numbers, infinities or NaN."""
    x, mask, *weights = instance(3, 7, 4, 0.5)
    found = []
    for other in (1.0, np.nan, np.inf):
        masked = jnp.where(mask[..., None], x, other)
        found.append(slopes(masked, mask, *weights, impl=impl))
        np.testing.assert_array_equal(jnp.where(mask[..., None], 0, found[-1][0]), 0)
    jax.tree.map(np.testing.assert_array_equal, found[0], found[1])
    jax.tree.map(np.testing.assert_array_equal, found[0], found[2])


def test_a_lone_element_is_the_result_and_none_is_zero():
    x, _, *weights = instance(3, 6, 1)
    mask = jnp.zeros((3, 6), bool).at[0, 4].set(True).at[1, 0].set(True)
    y = jax.jit(functools.partial(monoid_tree, impl="pallas_interpret"))(x, mask, *weights)
    np.testing.assert_array_equal(y, jnp.stack([x[0, 4], x[1, 0], jnp.zeros(1)]))


def test_packed_weights_have_the_gates_of_both_orders():
    """The identity that saves a third of the products, in double precision."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        a, b = rng.normal(size=(2, 6, 4))
        given = rng.normal(size=(4, 12)), rng.normal(size=(4, 12)), rng.normal(size=12), rng.normal(size=12)
        packed = cell.pack(*cell.padded(*map(jnp.asarray, given), 4))
        t, u = (a + b) @ packed.plus + packed.bias[0][:1], (a - b) @ packed.minus
        input_kernel, hidden_kernel, input_bias, hidden_bias = given
        for first, second, found in ((a, b, t + u), (b, a, t - u)):
            expected = first @ input_kernel + second @ hidden_kernel + input_bias + hidden_bias
            np.testing.assert_allclose(2 * found, expected[:, :8], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels", [3, 128, 200])
@pytest.mark.parametrize("elements", [2, 4, 64, 1024, 4096])
@pytest.mark.parametrize("collections", [1, 2, 5, 8, 1000])
def test_a_plan_covers_everything_in_whole_blocks(collections, elements, channels):
    how = plan(collections, elements, channels)
    assert how.steps * how.together >= collections > (how.steps - 1) * how.together
    assert how.chunks * how.rows == how.together * elements
    assert how.kept << how.levels == how.rows
    assert how.tops >> how.depth == how.together
    assert all((how.rows >> level) % how.block == 0 for level in range(1, how.levels + 1))
    assert how.together == 1 or how.tops <= max(4096 // how.tiles, how.kept)
    assert how.block >= 8


def test_the_memory_of_the_largest_plans_is_a_chips():
    """Scratch, blocks twice, and the weights of the way back, by count; the compiler adds what it spills."""
    for channels in (128, 256):
        how = plan(1, most_elements(channels), channels)
        rows = 2 * (how.rows + how.tops) * (2 * how.tiles + 1) + 2 * (2 * how.rows + how.tops) * how.tiles
        weights = (2 * 6 + 6 + 2 * 6) * (how.tiles * 128) ** 2
        assert 4 * (128 * rows + weights) < 48 << 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": jnp.zeros((4, 2))}, r"x must be floating \[G, N, H\] with no axis empty, got float32 \(4, 2\)"),
        ({"x": jnp.zeros((1, 0, 2))}, r"x must be floating \[G, N, H\] with no axis empty, got float32 \(1, 0, 2\)"),
        ({"mask": jnp.ones((1, 3))}, r"mask must be bool \(1, 3\), got float32 \(1, 3\)"),
        ({"mask": jnp.ones((1, 4), bool)}, r"mask must be bool \(1, 3\), got bool \(1, 4\)"),
        ({"input_kernel": jnp.zeros((3, 6))}, r"input_kernel must be float32 \(2, 6\), got float32 \(3, 6\)"),
        ({"hidden_kernel": jnp.zeros((2, 6), jnp.bfloat16)}, r"hidden_kernel must be float32 \(2, 6\), got bfloat16"),
        ({"input_bias": jnp.zeros(2)}, r"input_bias must be float32 \(6,\), got float32 \(2,\)"),
        ({"hidden_bias": jnp.zeros((1, 6))}, r"hidden_bias must be float32 \(6,\), got float32 \(1, 6\)"),
        ({"impl": "cuda"}, "impl must be None or one of"),
    ],
)
def test_bad_input_is_named(change, message):
    kernel, bias = jnp.zeros((2, 6)), jnp.zeros(6)
    arguments = {
        "x": jnp.zeros((1, 3, 2)), "mask": jnp.ones((1, 3), bool), "input_kernel": kernel, "hidden_kernel": kernel,
        "input_bias": bias, "hidden_bias": bias,
    } | change  # fmt: skip
    with pytest.raises(ValueError, match=message):
        monoid_tree(**arguments)


@pytest.mark.parametrize(
    ("shape", "dtype", "why"),
    [
        ((1, 4, 2), jnp.bfloat16, "x is bfloat16, the kernel computes in float32"),
        ((1, 4, 300), jnp.float32, "H=300 channels are more than 256"),
        ((1, 20000, 4), jnp.float32, "N=20000 elements are more than 16384, with H=4 channels"),
        ((1, 10000, 200), jnp.float32, "N=10000 elements are more than 8192, with H=200 channels"),
    ],
)
def test_the_kernel_says_what_it_cannot_serve(shape, dtype, why):
    args = jax.tree.map(lambda a: a if a.dtype == bool else a.update(dtype=dtype), api.abstract(*shape))
    with pytest.raises(NotImplementedError, match=rf"monoid_tree\[pallas_interpret\]: {why}; use impl=None or 'xla'"):
        jax.eval_shape(functools.partial(monoid_tree, impl="pallas_interpret"), *args)


def test_products_in_three_passes_are_left_to_xla():
    args = api.abstract(1, 4, 2)
    with jax.default_matmul_precision("high"), pytest.raises(NotImplementedError, match="products is 'high'"):
        jax.eval_shape(functools.partial(monoid_tree, impl="pallas_interpret"), *args)
    with jax.default_matmul_precision("highest"):
        jax.eval_shape(functools.partial(monoid_tree, impl="pallas_interpret"), *args)


def test_vmap_is_a_loop():
    x, mask, *weights = instance(4, 5, 3)
    run = functools.partial(monoid_tree, impl="pallas_interpret")
    many = jax.jit(jax.vmap(lambda x, mask: run(x, mask, *weights)))(x.reshape(2, 2, 5, 3), mask.reshape(2, 2, 5))
    one = jax.jit(run)(x, mask, *weights)
    np.testing.assert_allclose(many.reshape(4, 3), one, rtol=0, atol=2e-6)
