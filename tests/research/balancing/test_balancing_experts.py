"""Three ways to the same experts, by outputs and by gradients; nothing is dropped, unused slots add nothing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import experts as routed

TOKENS, SLOTS, EXPERTS, WIDTH, HIDDEN = 40, 3, 6, 8, 5


def instance(kind):
    """Tokens whose experts differ: any; all of one expert; some slots, and one expert, without use."""
    rng = np.random.default_rng(0)
    index = np.stack([rng.permutation(EXPERTS)[:SLOTS] for _ in range(TOKENS)])
    if kind == "one expert":
        index[:, 0], index[:, 1:] = 2, EXPERTS
    if kind == "unused":
        index[index == 4] = EXPERTS
        index[rng.random(index.shape) < 0.3] = EXPERTS
    shapes = {"gate": (EXPERTS, WIDTH, HIDDEN), "up": (EXPERTS, WIDTH, HIDDEN), "down": (EXPERTS, HIDDEN, WIDTH)}
    params = {name: jnp.asarray(rng.normal(size=shape) / 2) for name, shape in shapes.items()}
    x, gate = rng.normal(size=(TOKENS, WIDTH)), rng.random((TOKENS, SLOTS))
    return jnp.asarray(x), jnp.asarray(index, jnp.int32), jnp.asarray(gate), params


def dense(x, index, gate, params):
    """Every token through every expert."""
    raised = jax.nn.silu(jnp.einsum("td,edf->tef", x, params["gate"])) * jnp.einsum("td,edf->tef", x, params["up"])
    outputs = jnp.einsum("tef,efd->ted", raised, params["down"])
    weight = jnp.sum(jnp.where(index[:, :, None] == jnp.arange(EXPERTS)[None, None], gate[:, :, None], 0), axis=1)
    return jnp.einsum("ted,te->td", outputs, weight)


@functools.cache
def compiled(path, options):
    """Outputs and gradients of one scalar of them, of `dense` where the path is None."""
    function = dense if path is None else functools.partial(routed.experts, path=path, **dict(options))

    def scalar(x, gate, params, index):
        out = function(x, index, gate, params)
        return jnp.sum(jnp.sin(out)), out

    return jax.jit(jax.value_and_grad(scalar, (0, 1, 2), has_aux=True))


WAYS = {"blocked": {"block": 8}, "ragged": {}, "capacity": {"capacity": 7}}


@pytest.mark.parametrize("kind", ["any", "one expert", "unused"])
@pytest.mark.parametrize("path", WAYS)
def test_outputs_and_gradients_are_those_of_all_experts_on_all_tokens(x64, path, kind):
    x, index, gate, params = instance(kind)
    (_, got), gradients = compiled(path, tuple(WAYS[path].items()))(x, gate, params, index)
    (_, expected), wanted = compiled(None, ())(x, gate, params, index)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(jax.tree.leaves(gradients), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-12)


def test_ranks_count_earlier_entries_of_the_same_group():
    rank, count = routed.ranks(jnp.asarray([1, 0, 1, 3, 1, 0, 5]), 3)
    np.testing.assert_array_equal(rank[jnp.asarray([0, 1, 2, 4, 5])], [0, 0, 1, 2, 1])
    np.testing.assert_array_equal(count, [2, 3, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "dense"}, "path must be one of 'blocked', 'ragged', 'capacity'"),
        ({"block": 0}, "block must be >= 1"),
        ({"path": "capacity", "capacity": 0}, "capacity must be >= 1"),
        ({"gate": jnp.ones((TOKENS, 2))}, "gate must"),
        ({"x": jnp.ones((TOKENS, WIDTH + 1))}, "x must"),
    ],
)
def test_bad_input_is_named(change, message):
    x, index, gate, params = instance("any")
    arguments = {"x": x, "index": index, "gate": gate, "params": params} | change
    with pytest.raises(ValueError, match=message):
        routed.experts(**arguments)
