"""What every discovered algorithm owes its users, whatever it computes. A new module is tested because it exists."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import discover, prng
from research.core.status import Status
from research.core.types import ALGORITHM_NAMES

#: Promises about bits are kept by what users compile. What is compared to rounding is compiled `plainly`.
pytestmark = pytest.mark.optimized

ALGORITHMS = [pytest.param(module, id=module.__name__.removeprefix("research.")) for module in discover.algorithms()]
each_algorithm = pytest.mark.parametrize("algo", ALGORITHMS)
#: A restart comes a step sooner or later by a last bit: programs that are compared are compiled alike.
DECIDES_BY_ROUNDING = {"research.halpern.pdhg"}


@functools.cache
def example(algo, seed=0):
    """Made once: most of its operations are compiled one by one."""
    return algo.example(prng.root_key(seed))


@functools.cache
def start(algo):
    """`init`, compiled once for all tests of a module."""
    return jax.jit(algo.init)


@functools.cache
def begin(algo):
    """`run` from the start, compiled once for all tests of a module."""
    return jax.jit(lambda problem, params, key: algo.run(problem, params, key))


@functools.cache
def resume(algo):
    """`run` from a state, compiled once for all tests of a module."""
    return jax.jit(lambda problem, params, state: algo.run(problem, params, state=state))


def plain(tree):
    """Leaves as NumPy arrays, keys as their words, so that equality is equality of bits."""

    def leaf(x):
        x = jnp.asarray(x)
        return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)

    return jax.tree.map(leaf, tree)


def unplaced(leaf):
    """Not bound to a device, as what a run returns here is not: no program is compiled once more for it."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(plain(leaf), impl=jax.random.key_impl(leaf))
    return jnp.asarray(plain(leaf))


def assert_same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, plain(a), plain(b))


def assert_close(a, b):
    """Integers (draws, choices, counts, keys) bitwise; floats to float32 rounding added up over some hundred steps."""

    def compare(x, y):
        if np.issubdtype(x.dtype, np.inexact):
            np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-5)
        else:
            np.testing.assert_array_equal(x, y)

    jax.tree.map(compare, plain(a), plain(b))


@each_algorithm
def test_exports_exactly_its_public_names(algo, check_public_names):
    assert set(ALGORITHM_NAMES) | {"example"} <= set(algo.__all__)
    check_public_names(algo)


@each_algorithm
def test_splitting_a_run_changes_nothing(algo):
    problem, params = example(algo)
    assert params.num_steps % 2 == 0
    key = prng.root_key(1)
    half = dataclasses.replace(params, num_steps=params.num_steps // 2)
    whole = begin(algo)(problem, params, key)
    first = resume(algo)(problem, half, start(algo)(problem, half, key))
    second = resume(algo)(problem, half, first.state)
    assert_same_bits(second.state, whole.state)
    joined = jax.tree.map(lambda a, b: np.concatenate([a, b]), plain(first.trace), plain(second.trace))
    assert_same_bits(joined, whole.trace)
    assert whole.status == Status.OK
    assert int(whole.state.step) == params.num_steps


@each_algorithm
def test_a_run_is_the_scan_of_its_step(algo, plainly):
    problem, params = example(algo)
    state = start(algo)(problem, params, prng.root_key(1))
    step = plainly(algo.step, problem, params, state)
    infos = []
    for _ in range(4):
        state, info = step(problem, params, state)
        infos.append(plain(info))
    trace = plain(begin(algo)(problem, params, prng.root_key(1)).trace)
    assert_close(jax.tree.map(lambda *rows: np.stack(rows), *infos), jax.tree.map(lambda rows: rows[:4], trace))


@each_algorithm
def test_three_keys_need_one_trace(algo):
    run = begin(algo)
    for seed in range(3):
        problem, params = example(algo, seed)
        run(problem, params, prng.root_key(seed))
        if seed == 0:
            traces = run._cache_size()
    assert run._cache_size() == traces


@each_algorithm
def test_vmap_equals_a_loop(algo, plainly):
    problem, params = example(algo)
    keys = prng.replicate_keys(prng.root_key(2), 3)
    given = (problem, params, keys)
    batch = plain(plainly(jax.vmap(lambda *args: algo.run(*args), in_axes=(None, None, 0)), *given)(*given))
    decides = algo.__name__ in DECIDES_BY_ROUNDING
    run = plainly(algo.run, problem, params, keys[0]) if decides else begin(algo)
    for lane in range(3):
        alone = run(problem, params, keys[lane])
        assert_close(jax.tree.map(lambda leaf, lane=lane: leaf[lane], batch), alone)


@each_algorithm
def test_a_checkpointed_state_continues_as_if_nothing_happened(algo, tmp_path):
    import orbax.checkpoint as ocp

    problem, params = example(algo)
    half = dataclasses.replace(params, num_steps=params.num_steps // 2)
    state = resume(algo)(problem, half, start(algo)(problem, half, prng.root_key(1))).state
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(0, args=ocp.args.StandardSave(state))
        manager.wait_until_finished()
        restored = manager.restore(
            0, args=ocp.args.StandardRestore(jax.tree.map(ocp.tree.to_shape_dtype_struct, state))
        )
    assert_same_bits(restored, state)
    restored = jax.tree.map(unplaced, restored)
    assert_same_bits(resume(algo)(problem, half, restored).state, resume(algo)(problem, half, state).state)


@each_algorithm
def test_steps_keep_shapes_and_types(algo):
    problem, params = example(algo)
    state = jax.eval_shape(algo.init, problem, params, prng.root_key(1))
    after, _ = jax.eval_shape(algo.step, problem, params, state)
    jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype) or pytest.fail(f"{a} became {b}"), state, after)
    floats = {leaf.dtype for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert floats <= {jnp.dtype("float32")}


@each_algorithm
def test_double_precision_in_gives_double_precision_out(algo, x64):
    problem, params = example(algo)

    def widen(leaf):
        leaf = jnp.asarray(leaf)
        return leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    result = jax.eval_shape(algo.run, jax.tree.map(widen, problem), params, prng.root_key(1))
    floats = {leaf.dtype for leaf in jax.tree.leaves(result) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert floats <= {jnp.dtype("float64")}


@each_algorithm
def test_zero_steps_are_refused(algo):
    _, params = example(algo)
    with pytest.raises(ValueError, match=r"num_steps must be >= 1, got 0\."):
        dataclasses.replace(params, num_steps=0)
