"""The model: exact sizes, causality, precision, what recomputation counts, any router."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import decoder_parts, model_sizes, routers
from research.balancing.bias_update import Rule
from research.balancing.language_model import LanguageModel, Options, cross_entropy, init_states
from research.balancing.loss_free import LossFree
from research.balancing.routing import Context
from research.core import prng

SMALL = model_sizes.Size(32, 16, 3, 2, 4, 2, 1, 8, 24)
ROUTER = LossFree(4, 2, Rule(step_size=0.01))
PUBLISHED = {"tiny": 1_686_656, "laptop20m": 20_377_856, "pod1b": 969_034_752, "pod3b": 2_398_810_880}


def context(tokens):
    sequence = jnp.repeat(jnp.arange(tokens.shape[0]), tokens.shape[1], total_repeat_length=tokens.size)
    return Context(document=sequence, sequence=sequence, key=prng.root_key(3))


def weights_of(size, router, key, options=Options()):  # noqa: B008  immutable
    states = init_states(router, size.expert_layers, key)
    tokens = jnp.zeros((1, 1), jnp.int32)
    return LanguageModel(size, options).init(key, tokens, router, states, context(tokens))["params"], states


@pytest.fixture(scope="module")
def model():
    """Weights, states with a bias, and tokens; one compilation for every test of the file."""
    weights, states = jax.jit(functools.partial(weights_of, SMALL, ROUTER))(prng.root_key(0))
    states = states._replace(bias=jnp.asarray(np.random.default_rng(0).normal(0, 0.05, (2, 4)), jnp.float32))
    tokens = jnp.asarray(np.random.default_rng(1).integers(0, 32, (2, 12)))
    return weights, states, tokens


@functools.cache
def apply(options=Options()):  # noqa: B008  immutable
    network = LanguageModel(SMALL, options)
    return jax.jit(lambda weights, states, tokens: network.apply({"params": weights}, tokens, ROUTER, states))


@pytest.mark.parametrize("name", model_sizes.SIZES)
def test_sizes_are_exact(name):
    size = model_sizes.size(name)
    weights, states = jax.eval_shape(
        functools.partial(weights_of, size, LossFree(size.experts, size.top_k)), prng.root_key(0)
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(weights)) == PUBLISHED[name] == model_sizes.num_parameters(size)
    assert states.bias.shape == (size.layers - 1, size.experts)


def test_initial_scales(model):
    """Standard deviations within five standard errors, 1 / sqrt(2 m) relative for m numbers: false alarms 1e-6 each."""
    weights, _, _ = model
    layer, branches = weights["layers"]["layer"], 2 * SMALL.layers
    expected = {
        "router": (layer["mixture"]["router"], 16**-0.5), "gate": (layer["mixture"]["gate"], 16**-0.5),
        "down": (layer["mixture"]["down"], 8**-0.5 * branches**-0.5),
        "shared": (layer["mixture"]["shared"]["down"], 8**-0.5 * branches**-0.5),
        "out": (layer["attention"]["out"], 16**-0.5 * branches**-0.5),
        "dense": (weights["first"]["dense"]["down"], 24**-0.5 * branches**-0.5),
    }  # fmt: skip
    for name, (leaf, scale) in expected.items():
        found = float(jnp.sqrt(jnp.mean(leaf**2)))
        assert abs(found / scale - 1) < 5 / (2 * leaf.size) ** 0.5, name


def test_no_token_sees_a_later_one_and_the_bias_never_enters_a_gate(model):
    weights, states, tokens = model
    out = apply()(weights, states, tokens)
    changed = apply()(weights, states, tokens.at[:, 7:].set(5))
    np.testing.assert_array_equal(out.logits[:, :7], changed.logits[:, :7])
    assert not np.array_equal(out.logits[:, 7:], changed.logits[:, 7:])
    lifted = apply()(weights, states._replace(bias=states.bias + 0.25), tokens)  # exact in binary: same choice
    np.testing.assert_array_equal(lifted.logits, out.logits)
    np.testing.assert_array_equal(out.load.sum(axis=1), [48, 48])  # K T


def test_recomputation_changes_neither_loads_nor_gradients(model):
    """Loads are those of the forward pass; the derivative along a direction is the slope of the plain model's loss.

    A bias beyond all scores decides every choice, so that the loss has a slope everywhere.
    """
    weights, states, tokens = model
    states = states._replace(bias=jnp.asarray([[3.0, 0, 2, 0], [0, 2, 0, 3]], jnp.float32))

    def loss_of(out):
        return cross_entropy(out.logits[:, :-1], tokens[:, 1:]).mean()

    def loss(weights):
        out = LanguageModel(SMALL, Options(remat=True)).apply({"params": weights}, tokens, ROUTER, states)
        return loss_of(out), out.load

    gradient, load = jax.jit(jax.grad(loss, has_aux=True))(weights)
    np.testing.assert_array_equal(load, apply()(weights, states, tokens).load)
    length = np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(gradient)))

    def along(step):
        moved = jax.tree.map(lambda weight, slope: weight + step / length * slope, weights, gradient)
        return float(loss_of(apply()(moved, states, tokens)))

    slope = (along(1e-3) - along(-1e-3)) / 2e-3
    assert slope == pytest.approx(length, rel=2e-2)  # curvature, and rounding of some 1e-4


def test_bfloat16_computes_in_it_and_routes_in_float32(model):
    weights, states, tokens = model
    network = LanguageModel(SMALL, Options(compute_dtype="bfloat16"))
    traced = jax.make_jaxpr(lambda w: network.apply({"params": w}, tokens, ROUTER, states))(weights)
    out = jax.jit(lambda w: network.apply({"params": w}, tokens, ROUTER, states))(weights)
    assert out.logits.dtype == jnp.float32
    # Some 2^-8 of logits up to 4, but for the few tokens that rounding sends to another expert.
    difference = np.abs(out.logits - apply()(weights, states, tokens).logits).max(axis=-1)
    assert 0 < np.median(difference) < 0.06
    text = str(traced)
    assert "bf16[2,12,48]" in text  # the hidden activations of layer 0, gate and up
    assert "f32[24,4]" in text  # router logits


def test_parallel_residual_reads_the_input_of_the_layer(model):
    """With attention that writes nothing, both orders agree; otherwise they differ."""
    weights, states, tokens = model
    both = [apply(Options(parallel_residual=choice)) for choice in (False, True)]
    first, second = (f(weights, states, tokens).logits for f in both)
    assert not np.allclose(first, second, atol=1e-3)
    silent = jax.tree_util.tree_map_with_path(lambda path, x: x * (path[-1].key != "out"), weights)
    first, second = (f(silent, states, tokens).logits for f in both)
    np.testing.assert_array_equal(first, second)


def test_attention_in_blocks_is_attention(x64, monkeypatch):
    draws = np.random.default_rng(0).normal(size=(3, 2, 12, 2, 4))
    whole = decoder_parts.causal_attention(*draws)
    scores = np.einsum("bqhk,bshk->bhqs", draws[0], draws[1]) / 2
    scores[..., np.triu_indices(12, 1)[0], np.triu_indices(12, 1)[1]] = -np.inf
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(whole, np.einsum("bhqs,bshk->bqhk", weights, draws[2]), rtol=1e-12)
    monkeypatch.setattr(decoder_parts, "_QUERY_BLOCK", 4)
    np.testing.assert_allclose(decoder_parts.causal_attention(*draws), whole, rtol=1e-12)
    with pytest.raises(ValueError, match="length must be <= 4 or a multiple of it, got 10"):
        decoder_parts.causal_attention(*draws[:, :, :10])


def test_rotation_depends_on_distance_only(x64):
    """q_i . k_j of rotated vectors is the same for all i - j."""
    query, key = np.random.default_rng(0).normal(size=(2, 6))
    repeated = [jnp.broadcast_to(jnp.asarray(v), (1, 9, 1, 6)) for v in (query, key)]
    turned = [np.asarray(decoder_parts.rotate(v))[0, :, 0] for v in repeated]
    products = turned[0] @ turned[1].T
    for distance in range(-8, 9):
        diagonal = np.diagonal(products, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-12)


#: Routers by what a model has to do for them; the others differ inside `route` alone.
KINDS = {
    "learned and handed on": ("recurrent", {"hidden_size": 8, "router": {"name": "softmax"}}),
    "experts without weights": ("null_experts", {"num_null": 2}),
    "documents": ("document_pools", {"pool": 3}),
    "called more than once": ("chain", {"router": {"name": "softmax"}}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_any_router_plugs_in(model, kind):
    """Traced only: shapes of loads, gradients for what the router learns, and a memory that the scan can carry."""
    name, options = KINDS[kind]
    router = routers.make(name, SMALL.experts, SMALL.top_k, **options)
    weights, states = jax.eval_shape(functools.partial(weights_of, SMALL, router), prng.root_key(0))
    tokens = model[2]

    def loss(weights, states):
        out = LanguageModel(SMALL).apply({"params": weights}, tokens, router, states, context(tokens))
        return out.logits.sum() + out.loss.sum(), out

    gradients, out = jax.eval_shape(jax.grad(loss, has_aux=True), weights, states)
    assert out.load.shape == (2, router.num_experts)
    assert jax.tree.structure(gradients) == jax.tree.structure(weights)


def test_bad_options_are_refused(model):
    _, states, tokens = model
    with pytest.raises(ValueError, match=r"router\.num_ffn must be 4, got 8\."):
        LanguageModel(SMALL).init(prng.root_key(0), tokens, LossFree(8, 2), states)
    with pytest.raises(ValueError, match=r"Options\.router_init must be one of 'normal', 'kaiming', got 'zero'\."):
        Options(router_init="zero")
    with pytest.raises(ValueError, match=r"Size\.heads must divide the width 16 into even parts, got 3\."):
        dataclasses.replace(SMALL, heads=3)
    with pytest.raises(ValueError, match=r"Size\.top_k must be <= the 4 experts, got 5\."):
        dataclasses.replace(SMALL, top_k=5)
    with pytest.raises(ValueError, match="size must be one of 'tiny'"):
        model_sizes.size("huge")
