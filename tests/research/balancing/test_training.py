"""The training step: the order of events, accumulation, evaluation, splitting a run."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from research.balancing import balance_losses, expert_choice, model_sizes, training
from research.balancing.bias_update import Rule
from research.balancing.loss_free import LossFree
from research.core import prng
from research.core.status import Status

SIZE = model_sizes.Size(32, 16, 2, 2, 4, 2, 1, 8, 16)
STEPS = 2


def make_params(step_size=0.01, micro_batches=1, balance_scope="micro", num_steps=STEPS):
    router = LossFree(4, 2, Rule(step_size=jnp.float32(step_size)))
    router = balance_losses.WithLosses(router, {"load_balancing": 0.5})
    optimizer = training.Optimizer(warmup=2.0, total=8.0)
    return training.Params(
        router, SIZE, optimizer, batch_size=4, length=8, micro_batches=micro_batches, balance_scope=balance_scope,
        num_steps=num_steps,
    )  # fmt: skip


@functools.cache
def program(**static):
    """`run`, compiled once for each shape of a run."""
    return jax.jit(lambda problem, params, state: training.run(problem, params, state=state))


@pytest.fixture(scope="module")
def problem():
    """Two stripes; the second half of each does not exist, and documents end every thirty tokens."""
    text = np.random.default_rng(0).integers(0, 32, (2, 256)).astype(np.uint8)
    starts = np.concatenate([30 * np.arange(8), [256]])
    starts = jnp.asarray(np.stack([starts, starts]), jnp.int32)
    return training.Problem(jnp.asarray(text), jnp.full(2, 128, jnp.int32), starts, jnp.asarray(text[:, :64]))


@pytest.fixture(scope="module")
def start(problem):
    return jax.jit(functools.partial(training.init, problem))(make_params(), prng.root_key(0))


@pytest.fixture(scope="module")
def result(problem, start):
    return program()(problem, make_params(), start)


def bias(result):
    return np.asarray(result.state.router.bias)


def assert_same_bits(a, b):
    def plain(leaf):
        return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    jax.tree.map(lambda x, y: np.testing.assert_array_equal(plain(x), plain(y)), a, b)


def test_the_bias_follows_the_loads_of_each_step_once_per_step(result):
    """p_n = p_{n-1} + u sign(L - A_n) with the loads of the whole step."""
    load = np.asarray(result.trace.load)
    np.testing.assert_array_equal(load.sum(axis=-1), 4 * 8 * 2)  # K T
    assert (load != 16).any()
    moved = sum((np.float32(0.01) * np.sign(16 - one) for one in load), np.float32(0))
    np.testing.assert_array_equal(bias(result), moved.astype(np.float32))
    assert result.state.router.updates.tolist() == [STEPS]
    assert result.status == Status.OK


def test_loads_reach_the_next_step_and_not_their_own(problem, start, result):
    """Another step size: the first step is the same to the bit, and only then may anything differ."""
    other = program()(problem, make_params(step_size=1.0), start)
    first = lambda found: jax.tree.map(lambda leaf: leaf[0], found.trace)  # noqa: E731
    assert_same_bits(first(other), first(result))
    assert not np.array_equal(other.trace.load[1], result.trace.load[1])


def test_a_run_may_be_split(problem, start, result):
    whole = program(num_steps=2 * STEPS)(problem, make_params(num_steps=2 * STEPS), start)
    second = program()(problem, make_params(), result.state)
    assert_same_bits(whole.state, second.state)
    assert_same_bits(whole.trace.load, jnp.concatenate([result.trace.load, second.trace.load]))


def uncommitted(state):
    """The state as if just computed: where it lies on purpose would make another program of it."""
    key = jax.random.wrap_key_data(np.asarray(jax.random.key_data(state.key)))
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), state._replace(key=0))._replace(key=key)


def test_a_checkpointed_state_goes_on_as_if_nothing_had_happened(problem, result, tmp_path):
    """Weights, moments, biases and the key come back to the bit."""
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(0, args=ocp.args.StandardSave(result.state))
        manager.wait_until_finished()
        target = jax.tree.map(ocp.tree.to_shape_dtype_struct, result.state)
        restored = manager.restore(0, args=ocp.args.StandardRestore(target))
    assert np.abs(restored.router.bias).max() > 0
    resumed, direct = (program()(problem, make_params(), uncommitted(state)) for state in (restored, result.state))
    assert_same_bits(resumed.state, direct.state)
    assert_same_bits(resumed.trace, direct.trace)


def test_accumulated_steps_are_whole_steps_where_losses_see_the_loads_of_the_step(problem, start, result):
    """Two micro-batches: the same loads, one update, and the same losses and gradients to rounding."""
    static = {"micro_batches": 2, "balance_scope": "step"}
    parts = program(**static)(problem, make_params(**static), start)
    assert_same_bits(parts.trace.load, result.trace.load)
    assert_same_bits(parts.state.router, result.state.router)
    np.testing.assert_allclose(parts.trace.loss, result.trace.loss, rtol=1e-5)
    np.testing.assert_allclose(parts.trace.router_loss, result.trace.router_loss, rtol=1e-5)
    np.testing.assert_allclose(parts.trace.gradient_norm, result.trace.gradient_norm, rtol=1e-4)


def test_evaluation_counts_everything_and_changes_nothing(problem, start, result):
    found = jax.jit(lambda *given: training.evaluate(*given, 8))(problem, make_params(), result.state)
    assert found.loss.shape == (2,)
    np.testing.assert_array_equal(found.load.sum(axis=-1), [[8 * 8 * 2]] * 2)
    assert (np.abs(found.loss - np.log(32)) < 1).all()
    first, second = (np.asarray(problem.validation[d]) for d in (0, 1))
    assert not np.array_equal(first, second)
    with pytest.raises(ValueError, match="windows must be a multiple of batch_size = 4, got 6"):
        training.evaluate(problem, make_params(), start, 6)


def test_draws_are_those_of_the_step_and_stay_inside_the_text(problem):
    params = dataclasses.replace(make_params(), batch_size=512)
    offsets = training._offsets(problem, params, prng.root_key(1))
    assert offsets.shape == (2, 256)
    assert offsets.min() == 0
    assert offsets.max() == 128 - 8 - 1  # the last token has a target
    tokens, document = training._windows(problem, offsets, 8)
    assert tokens.shape == (512, 9)
    at = int(offsets[1, 3])
    np.testing.assert_array_equal(tokens[256 + 3], problem.tokens[1, at : at + 9])
    steps = np.diff(document.reshape(-1))
    assert set(steps.tolist()) == {0, 1}
    assert document[0, 0] == 0
    inside = (np.asarray(offsets).reshape(-1) % 30) > 30 - 8  # a document ends within the sequence
    np.testing.assert_array_equal(document[:, -1] - document[:, 0], inside)


def test_learning_rate():
    optimizer = training.Optimizer(learning_rate=2.0, warmup=4.0, total=24.0, final=0.1)
    rate = functools.partial(training.learning_rate, optimizer)
    np.testing.assert_allclose(rate(jnp.arange(4)), [0.5, 1.0, 1.5, 2.0], rtol=1e-6)
    np.testing.assert_allclose(rate(jnp.asarray([4, 14, 24, 99])), [2.0, 1.1, 0.2, 0.2], rtol=1e-6)


def test_everything_is_double_in_double(x64):
    """Weights, moments, biases: whoever asks for double precision gets it everywhere."""
    state = jax.eval_shape(lambda key: training.init(None, make_params(), key), prng.root_key(0))
    floats = {leaf.dtype for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    assert floats == {jnp.dtype("float64")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"micro_batches": 3}, r"Params\.micro_batches must divide batch_size = 4, got 3\."),
        ({"num_steps": 0}, r"Params\.num_steps must be >= 1, got 0\."),
        ({"balance_scope": "all"}, r"Params\.balance_scope must be one of 'device', 'micro', 'step', got 'all'\."),
        ({"router": LossFree(8, 2)}, r"Params\.router must have 4 experts with weights, got 8\."),
        ({"router": expert_choice.ExpertChoice(4, 2)}, r"Params\.router must be causal, got ExpertChoice\."),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make_params(), **changes)
    with pytest.raises(ValueError, match=r"key must be given: weights are drawn, got None\."):
        training.init(None, make_params())
