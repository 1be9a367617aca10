"""What every pooling operator owes its users. A module with an `example` of operators is tested because it exists.

One compiled program an operator, in double precision: its output, and the gradient of a random linear function of it.
The tests call it with other inputs; those that compare bits compare runs of one program.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import discover, prng
from research.pooling.operator import INVARIANTS, Operator


def _modules():
    for module in discover.operators():
        if module.__name__.startswith("research.pooling."):
            yield module.__name__.rpartition(".")[2], module


MODULES = dict(_modules())


@functools.cache
def examples(module) -> dict[str, Operator]:
    with jax.enable_x64(True):
        return MODULES[module].example(prng.root_key(0))


def over(wanted=lambda operator: True):
    """A test of one operator, made a test of a module's: drawing examples is left to the tests."""

    def decorate(test):
        @pytest.mark.parametrize("module", MODULES)
        @functools.wraps(test)
        def looped(module):
            for name, operator in examples(module).items():
                if wanted(operator):
                    try:
                        test(module, name)
                    except Exception as error:
                        error.add_note(f"operator: {module}, {name}")
                        raise

        del looped.__wrapped__  # pytest would ask it for its arguments
        return looped

    return decorate


each = over()
each_masked = over(lambda operator: operator.mask is not None)
each_smooth = over(lambda operator: operator.differentiable)


def _is_float(leaf):
    return jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating)


def _split(tree):
    """Floating leaves, and the rest; None elsewhere."""
    floats = jax.tree.map(lambda leaf: leaf if _is_float(leaf) else None, tree)
    rest = jax.tree.map(lambda leaf: None if _is_float(leaf) else leaf, tree)
    return floats, rest


def _merge(floats, rest):
    return jax.tree.map(lambda a, b: b if a is None else a, floats, rest, is_leaf=lambda leaf: leaf is None)


def _functional(operator, params, inputs, mask):
    """A fixed random linear function of the floating outputs, and the outputs."""
    out = operator.apply(params, inputs, mask)
    leaves = [leaf for leaf in jax.tree.leaves(out) if _is_float(leaf)]
    keys = jax.random.split(prng.root_key(3), len(leaves))
    total = sum(
        (jax.random.normal(key, leaf.shape, leaf.dtype) * leaf).sum() for key, leaf in zip(keys, leaves, strict=True)
    )
    return total, out


@functools.cache
def program(module, name):
    """(params, inputs, mask) -> outputs, gradient for (params, inputs) or None, the linear function."""
    operator = examples(module)[name]

    @jax.jit
    def run(params, inputs, mask):
        if not operator.differentiable:
            total, out = _functional(operator, params, inputs, mask)
            return out, None, total
        floats, rest = _split((params, inputs))

        def loss(floats):
            return _functional(operator, *_merge(floats, rest), mask)

        (total, out), gradient = jax.value_and_grad(loss, has_aux=True)(floats)
        return out, gradient, total

    def call(params=operator.params, inputs=operator.inputs, mask=operator.mask):
        with jax.enable_x64(True):
            return jax.device_get(run(params, inputs, mask))

    return call


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def _same(x, y):
    jax.tree.map(np.testing.assert_array_equal, x, y)


def _close(x, y, rtol=1e-9):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol), x, y)


def _masked(operator, fill):
    """Its inputs with `fill` in every masked element."""

    def change(leaf):
        leaf = np.array(leaf)
        if _is_float(leaf) and leaf.shape[:2] == operator.mask.shape:
            leaf[~np.asarray(operator.mask)] = fill
        return leaf

    return jax.tree.map(change, operator.inputs)


def test_there_are_operators():
    assert len(MODULES) >= 25


@pytest.mark.parametrize("module", MODULES)
def test_its_module_lists_its_public_names(module, check_public_names):
    check_public_names(MODULES[module])


@each
def test_it_says_what_it_is(module, name):
    operator = examples(module)[name]
    assert operator.formula
    assert "\n" not in operator.formula
    assert operator.source
    assert set(operator.invariants) <= set(INVARIANTS)
    first = {leaf.shape[0] for leaf in jax.tree.leaves(operator.inputs)}
    assert len(first) == 1
    assert first.pop() >= 2


@each
def test_outputs_are_finite_and_keep_the_dtype(module, name):
    out, gradient, _ = program(module, name)()
    for leaf in jax.tree.leaves((out, gradient)):
        assert np.isfinite(leaf).all()
        assert leaf.dtype != np.float32


@each_masked
def test_masked_elements_touch_nothing(module, name):
    operator = examples(module)[name]
    assert not np.asarray(operator.mask).all()
    run = program(module, name)
    plain = run(inputs=_masked(operator, 0.0))
    for fill in (np.nan, np.inf, -1e30):
        changed = run(inputs=_masked(operator, fill))
        _same(plain, changed)
    if operator.differentiable:

        def check(leaf):
            if leaf is not None and leaf.shape[:2] == operator.mask.shape:
                assert (leaf[~np.asarray(operator.mask)] == 0).all()

        jax.tree.map(check, changed[1][1])


@each_masked
def test_an_empty_collection_is_defined(module, name):
    operator = examples(module)[name]
    mask = np.array(operator.mask)
    mask[0] = False
    out, gradient, _ = program(module, name)(mask=mask)
    for leaf in jax.tree.leaves((out, gradient)):
        assert np.isfinite(leaf).all()
    if gradient is not None:
        jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf[0], 0), gradient[1])


@each
def test_entries_of_a_batch_do_not_see_each_other(module, name):
    operator = examples(module)[name]

    def spoil(leaf):
        leaf = np.array(leaf)
        if _is_float(leaf):
            leaf[0] = np.nan
        return leaf

    run = program(module, name)
    plain, spoilt = run()[0], run(inputs=jax.tree.map(spoil, operator.inputs))[0]
    _same(jax.tree.map(lambda leaf: leaf[1:], plain), jax.tree.map(lambda leaf: leaf[1:], spoilt))
    if operator.differentiable:
        assert any(np.isnan(leaf[0]).any() for leaf in jax.tree.leaves(spoilt) if _is_float(leaf))


@each_smooth
def test_gradient_is_the_derivative(module, name):
    """Central differences along random directions of parameters and inputs together, in double precision."""
    operator = examples(module)[name]
    run = program(module, name)
    floats, rest = _split((operator.params, operator.inputs))
    generator = np.random.default_rng(7)
    _, gradient, _ = run()
    for _ in range(3):
        direction = jax.tree.map(lambda leaf: generator.normal(size=jnp.shape(leaf)), floats)
        if operator.mask is not None:
            direction = (direction[0], _masked(operator._replace(inputs=direction[1]), 0.0))
        ends = []
        for sign in (1, -1):
            moved = jax.tree.map(lambda x, v, s=sign: np.asarray(x) + s * 1e-6 * v, floats, direction)
            ends.append(run(*_merge(moved, rest))[2])
        slope = (ends[0] - ends[1]) / 2e-6
        expected = sum(jax.tree.leaves(jax.tree.map(lambda g, v: (g * v).sum(), gradient, direction)))
        scale = sum(jax.tree.leaves(jax.tree.map(lambda g, v: np.abs(g * v).sum(), gradient, direction)))
        # Differences of double precision at this step: 1e-16 / 1e-6 of the value, and the third derivative.
        assert abs(slope - expected) <= 1e-6 * scale + 1e-8


@over(lambda operator: operator.invariants)
def test_invariants(module, name):
    for claim in examples(module)[name].invariants:
        _check(module, name, claim)


def _check(module, name, claim):
    operator = examples(module)[name]
    run = program(module, name)
    x = np.asarray(operator.inputs)
    assert x.ndim == 3
    y = run()[0]
    generator = np.random.default_rng(11)
    mask = np.ones(x.shape[:2], bool) if operator.mask is None else np.asarray(operator.mask)
    if claim == "permutation":
        order = generator.permutation(x.shape[1])
        moved = None if operator.mask is None else mask[:, order]
        _close(run(inputs=x[:, order], mask=moved)[0], y)
    elif claim == "idempotent":
        constant = np.broadcast_to(x[:, :1], x.shape).copy()
        some = mask.any(1)
        _close(run(inputs=constant)[0][some], constant[some, 0])
    elif claim == "homogeneous":
        for factor in (0.5, 3.0):
            _close(run(inputs=factor * x)[0], factor * y)
    elif claim == "shift":
        some = mask.any(1)
        for c in (0.7, -1.3) if not operator.positive else (0.7,):
            _close(run(inputs=x + c)[0][some], y[some] + c)
    elif claim == "monotone":
        for _ in range(5):
            more = x + np.abs(generator.normal(size=x.shape)) * (generator.random(x.shape) < 0.4)
            assert (run(inputs=more)[0] >= y - 1e-12).all()
    else:
        some = mask.any(1)
        inside = mask[..., None]
        high = np.where(inside, x, -np.inf).max(1)[some]
        low = np.where(inside, x, np.inf).min(1)
        if claim == "mean_max":
            low = np.where(inside, x, 0).sum(1) / np.maximum(mask.sum(1), 1)[:, None]
        assert (y[some] <= high + 1e-12).all()
        assert (y[some] >= low[some] - 1e-12).all()


@pytest.mark.slow
@each
def test_one_program_is_eager_and_is_a_loop(module, name):
    operator = examples(module)[name]
    given = (operator.params, operator.inputs, operator.mask)
    out = program(module, name)()[0]
    _close(operator.apply(*given), out)
    double = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), (operator.inputs, operator.mask))

    def loss(inputs, mask):
        floats, rest = _split(inputs)
        return jax.value_and_grad(
            lambda floats: _functional(operator, operator.params, _merge(floats, rest), mask)[0], allow_int=True
        )(floats)

    if operator.differentiable:
        lanes = jax.vmap(loss)(*double)[1]
        expected = program(module, name)()[1][1]
        _close(jax.tree.map(lambda leaf: leaf[1], lanes), expected)
    else:
        lanes = jax.vmap(lambda inputs, mask: operator.apply(operator.params, inputs, mask))(*double)
        _close(jax.tree.map(lambda leaf: leaf[1], lanes), out)


@pytest.mark.slow
@each
def test_half_precision_is_finite(module, name):
    """Inputs up to 1e4 in magnitude, the largest that float16 nearly holds; its root where outputs are products."""
    operator = examples(module)[name]
    largest = 1e4 ** (1 / operator.degree)
    for dtype in (jnp.bfloat16, jnp.float16):

        def convert(leaf, dtype=dtype):
            return jnp.asarray(leaf).astype(dtype) if _is_float(leaf) else leaf

        def scaled(leaf):
            return largest * leaf / jnp.abs(leaf).max() if _is_float(leaf) else leaf

        params = jax.tree.map(convert, operator.params)
        inputs = jax.tree.map(convert, jax.tree.map(scaled, operator.inputs))
        for leaf in jax.tree.leaves(jax.jit(operator.apply)(params, inputs, operator.mask)):
            assert not _is_float(leaf) or np.isfinite(np.asarray(leaf, np.float32)).all()
