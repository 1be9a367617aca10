"""What every router owes a model, whatever it computes. A new module with an `example` is tested because it exists.

All examples are routed by two programs: one batch alone, and a batch of variants of it (padding, other logits in the
padding, other logits in later tokens). Tests read what these returned.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing.routing import Context, Router, Routing, Wrapper, share
from research.core import discover, prng

#: Tokens of the last quarter are padding in some variants; those of the second half change in others.
PADDED, LATER = 24, 16
VARIANTS = ("given", "padded", "padding changed", "later changed")


def _examples():
    for module in discover.operators():
        example = module.example(prng.root_key(0))
        if isinstance(example, tuple) and isinstance(example[0], Router):
            yield module, example


EXAMPLES = {module.__name__.rpartition(".")[2]: (module, *example) for module, example in _examples()}
each_router = pytest.mark.parametrize("name", EXAMPLES)
#: Routers in which tokens compete, and those that loop: the others are top-K of rows, which a batch cannot change.
ENTANGLED = sorted(
    {name for name, found in EXAMPLES.items() if not found[1].causal} | {"document_pools", "quantile_router"}
)


def route(router, logits, context):
    return router.route(router.init(prng.root_key(1)), logits, context)


@jax.jit
def alone(inputs):
    return {name: route(EXAMPLES[name][1], *given) for name, given in inputs.items()}


@jax.jit
@jax.vmap
def batched(inputs):
    return {name: route(EXAMPLES[name][1], *given) for name, given in inputs.items()}


def _variants(logits, context):
    """Logits and contexts with a leading axis, one lane per variant."""
    tokens = logits.shape[0]
    other = jax.random.normal(prng.root_key(2), logits.shape)
    place = jnp.arange(tokens)[:, None]
    rows = jnp.stack(
        [logits, logits, jnp.where(place < PADDED, logits, 9 * other), jnp.where(place < LATER, logits, other)]
    )
    valid = jnp.stack([jnp.ones(tokens, bool), jnp.arange(tokens) < PADDED])[jnp.array([0, 1, 1, 0])]
    return rows, jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * len(VARIANTS)), context)._replace(
        valid=valid
    )


@pytest.fixture(scope="module")
def plain():
    """name -> Routing of its example, without a mask."""
    return jax.device_get(alone({name: EXAMPLES[name][2:] for name in ENTANGLED}))


@pytest.fixture(scope="module")
def variants():
    """(name, variant) -> Routing."""
    found = jax.device_get(batched({name: _variants(*given) for name, (_, _, *given) in EXAMPLES.items()}))
    return {
        (name, variant): jax.tree.map(lambda leaf, lane=lane: leaf[lane], routing)
        for name, routing in found.items()
        for lane, variant in enumerate(VARIANTS)
    }


def rows(routing: Routing, count: int):
    return routing.index[:count], routing.gate[:count], routing.keep[:count]


def test_there_are_routers():
    assert {"softmax_topk", "loss_free", "expert_choice", "chain"} <= set(EXAMPLES)


@each_router
def test_its_module_lists_its_public_names(name, check_public_names):
    check_public_names(EXAMPLES[name][0])


@each_router
def test_slots_gates_and_loads_fit_together(name, variants):
    router = EXAMPLES[name][1]
    for variant in VARIANTS:
        found = variants[name, variant]
        assert found.index.shape == found.gate.shape == found.keep.shape == (32, router.num_slots)
        assert found.index.dtype == found.load.dtype == np.int32
        assert ((found.index >= 0) & (found.index <= router.num_experts)).all()
        np.testing.assert_array_equal(found.keep, found.index < router.num_experts)
        assert (found.gate[~found.keep] == 0).all()
        assert (found.gate >= 0).all()
        counts = np.bincount(found.index[found.keep], minlength=router.num_experts)
        np.testing.assert_array_equal(found.load, counts)
        for row, kept in zip(found.index, found.keep, strict=True):
            assert len(set(row[kept])) == kept.sum()
        assert found.aux["scores"].shape == (32, router.num_experts)
        assert (found.aux["scores"] >= 0).all()


@pytest.mark.parametrize("name", ENTANGLED)
def test_a_batch_and_a_mask_of_ones_change_nothing(name, plain, variants):
    def compare(x, y):
        if np.issubdtype(x.dtype, np.floating):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)  # float32 lanes of another width
        else:
            np.testing.assert_array_equal(x, y)

    jax.tree.map(compare, plain[name], variants[name, "given"])


@each_router
def test_padding_takes_no_expert_and_counts_nowhere(name, variants):
    padded, changed = variants[name, "padded"], variants[name, "padding changed"]
    assert not padded.keep[PADDED:].any()
    for x, y in zip(rows(padded, PADDED), rows(changed, PADDED), strict=True):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(padded.load, changed.load)


@pytest.fixture(scope="module")
def without_padding():
    """name -> Routing of the first tokens alone, of those routers in which tokens compete for places."""

    def cut(leaf):
        return leaf[:PADDED] if getattr(leaf, "ndim", 0) else leaf

    inputs = {}
    for name, (_, router, logits, context) in EXAMPLES.items():
        if not router.causal:
            inputs[name] = (logits[:PADDED], jax.tree.map(cut, context))
    return jax.device_get(alone(inputs))


@each_router
def test_padding_is_as_if_it_were_not_there(name, variants, without_padding):
    """Places are those of the valid tokens. In a causal router, padding at the end is one more future."""
    padded = rows(variants[name, "padded"], PADDED)
    causal = EXAMPLES[name][1].causal
    index, gate, keep = rows(variants[name, "given"] if causal else without_padding[name], PADDED)
    np.testing.assert_array_equal(padded[0], index)
    np.testing.assert_allclose(padded[1], gate, rtol=1e-5, atol=1e-6)  # float32 lanes of another width
    np.testing.assert_array_equal(padded[2], keep)


@each_router
def test_earlier_tokens_see_later_ones_only_where_the_router_says_so(name, variants):
    router = EXAMPLES[name][1]
    given, changed = (rows(variants[name, variant], LATER) for variant in ("given", "later changed"))
    same = all(np.array_equal(x, y) for x, y in zip(given, changed, strict=True))
    assert same == router.causal


def test_three_batches_need_one_trace(plain):
    before = alone._cache_size()
    for seed in range(3):
        inputs = {}
        for name in ENTANGLED:
            _, _, logits, context = EXAMPLES[name]
            inputs[name] = (jax.random.normal(prng.root_key(seed), logits.shape), context)
        alone(inputs)
    assert alone._cache_size() == before


@each_router
def test_scores_and_gates_are_float32_at_least(name):
    _, router, logits, context = EXAMPLES[name]
    for given, wanted in ((jnp.bfloat16, jnp.float32), (jnp.float32, jnp.float32)):
        found = jax.eval_shape(lambda z: route(router, z, context), jax.ShapeDtypeStruct(logits.shape, given))  # noqa: B023
        assert found.gate.dtype == found.aux["scores"].dtype == wanted


@each_router
def test_double_precision_stays(name, x64):
    _, router, logits, context = EXAMPLES[name]
    found = jax.eval_shape(lambda z: route(router, z, context), jax.ShapeDtypeStruct(logits.shape, jnp.float64))
    assert found.gate.dtype == found.aux["scores"].dtype == jnp.float64


@each_router
def test_a_state_keeps_its_layout_and_the_loss_is_a_number(name):
    _, router, logits, context = EXAMPLES[name]

    def step(logits, context):
        state = router.init(prng.root_key(1))
        routing = router.route(state, logits, context)
        after = router.update(state, routing.load, routing.aux.get("summary", ()))
        return state, after, router.loss(logits, routing, share(routing.load), context)

    before, after, loss = jax.eval_shape(step, logits, context)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(before)] == [(x.shape, x.dtype) for x in jax.tree.leaves(after)]
    assert loss.shape == ()


#: One for each way in which gates and losses come about.
DIFFERENTIATED = ("balance_losses", "loss_free", "null_experts", "mixture_plus", "recurrent_router", "shared_pools")


def test_gradients_of_gates_and_losses_are_finite_and_reach_what_is_learned():
    def total(inputs):
        sums = 0.0
        for name, (logits, context) in inputs.items():
            router = EXAMPLES[name][1]
            routing = route(router, logits, context)
            weights = jnp.arange(1.0, routing.gate.shape[1] + 1)[None]
            sums += jnp.sum(weights * routing.gate**2) + router.loss(logits, routing, share(routing.load), context)
        return sums

    def split(context):
        learned = {"parameters": context.parameters, "shared": context.shared, "hidden": context.hidden}
        return learned, context._replace(parameters=None, shared=None, hidden=None)

    learned, rest = {}, {}
    for name in DIFFERENTIATED:
        _, _, logits, context = EXAMPLES[name]
        learned[name], rest[name] = split(context)
        learned[name]["logits"] = logits

    def of_learned(learned):
        joined = {}
        for name, fields in learned.items():
            given = {key: value for key, value in fields.items() if key != "logits"}
            joined[name] = (fields["logits"], rest[name]._replace(**given))
        return total(joined)

    gradient = jax.jit(jax.grad(of_learned))(learned)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
    for name in set(DIFFERENTIATED) - {"recurrent_router"}:  # which makes its own logits
        assert np.any(gradient[name]["logits"] != 0), name
    learns = {"recurrent_router": ("project", "readout"), "mixture_plus": ("gate_residual",)}
    for name, fields in learns.items():
        for field in fields:
            assert np.any(gradient[name]["parameters"][field] != 0), (name, field)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient["recurrent_router"]["shared"]))


class Recording(Wrapper):
    """Changes nothing."""

    router: Router


@each_router
def test_a_wrapper_hands_everything_on(name):
    _, router, _, _ = EXAMPLES[name]
    wrapped = Recording(router)
    for field in ("num_experts", "top_k", "num_slots", "num_ffn", "causal"):
        assert getattr(wrapped, field) == getattr(router, field)
    key = prng.root_key(3)
    for method in ("layer_parameters", "shared_parameters"):
        of_both = [jax.eval_shape(lambda r=r, m=method: getattr(r, m)(key, 4)) for r in (router, wrapped)]
        assert of_both[0] == of_both[1]
    assert jax.tree.structure(wrapped.memory(3)) == jax.tree.structure(router.memory(3))
    assert wrapped.at_inference().router == router.at_inference()


def test_what_a_context_leaves_out_is_none():
    assert Context() == Context(None, None, None, 0, 0, None, None, None, None, None)
