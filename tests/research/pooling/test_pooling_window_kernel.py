"""The kernel's package computes what `window_pool` computes, and a TPU is given it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.pooling import window_kernel
from research.pooling.geometry import resolve
from research.pooling.window_slices import Spec
from research.pooling.windows import window_pool

CASES = [
    ("avg", {}, {"count_include_pad": True}),
    ("sum", {}, {}),
    ("max", {}, {}),
    ("min", {}, {"ties": "split"}),
    ("soft", {"beta": 0.7}, {}),
    ("soft", {"beta": jnp.float32([0.5, -1.0, 2.0])}, {"grad": "straight"}),
    ("lme", {"tau": jnp.float32(0.5)}, {}),
    ("lse", {"tau": 2.0}, {}),
    ("power", {"p": jnp.float32([3.0, 2.0, -1.0])}, {}),
    ("lp", {"p": 2.0}, {}),
]


@pytest.mark.parametrize(("kind", "params", "options"), CASES, ids=lambda part: part if isinstance(part, str) else "")
def test_it_is_the_same_function(kind, params, options):
    """On a CPU both are plain programs: of the library here and of the kernel's package there."""
    x = jax.random.normal(jax.random.key(0), (2, 7, 6, 3))
    geometry = resolve((7, 6), (3, 2), (2, 2), ((1, 0), (0, 1)))
    spec = Spec(
        kind, 1e-6, geometry, options.get("count_include_pad", False), options.get("grad", "exact"),
        options.get("ties", "first"),
    )  # fmt: skip
    assert window_kernel.serves(spec, jax.ShapeDtypeStruct((8, 7, 6, 64), x.dtype), None)
    names = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
    # With the weights of "soft" held constant in x, ours has the slope of beta all the same, by another call of theirs.
    arguments = 0 if spec.grad == "straight" else (0, 1)
    weights = jax.random.normal(jax.random.key(1), (2, *geometry.out, 3))

    @jax.jit
    def both(x, named):
        def ours(x, named):
            pooled = window_pool(x, kind, (3, 2), (2, 2), ((1, 0), (0, 1)), params=named, **options)
            return (weights * pooled).sum(), pooled

        def theirs(x, named):
            c = jnp.ones((1, 1, 1, 1), x.dtype)
            for name, number in named.items():
                c = (1 / number if name == "tau" else number).reshape(1, 1, 1, -1)
            return (weights * window_kernel.value(spec, x, c)).sum(), window_kernel.value(spec, x, c)

        return [jax.value_and_grad(function, argnums=arguments, has_aux=True)(x, named) for function in (ours, theirs)]

    one, other = both(x, names)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=3e-4, atol=3e-5), one, other)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_only_a_tpu_runs_the_kernel(dtype):
    def slopes(x):
        return jax.grad(lambda x: (window_pool(x, "soft", 2) ** 2).sum())(x)

    x = jax.ShapeDtypeStruct((8, 16, 16, 128), dtype)
    lowered = {name: jax.jit(slopes).trace(x).lower(lowering_platforms=(name,)).as_text() for name in ("tpu", "cpu")}
    assert "tpu_custom_call" in lowered["tpu"]
    assert "custom_call" not in lowered["cpu"]


def test_what_it_does_not_serve_stays_with_the_formulations():
    x = jnp.zeros((8, 4, 4, 64))
    spec = Spec("power", 1e-6, resolve((4, 4), 2), False, "exact", "first")
    assert not window_kernel.serves(spec, x, jnp.ones(x.shape[:-1], bool))
    assert window_kernel.serves(spec, x, None)
    assert not window_kernel.serves(spec, x.astype(jnp.float16), None)
    for images, channels in ((4, 64), (12, 64), (8, 32), (8, 320)):
        assert not window_kernel.serves(spec, jnp.zeros((images, 4, 4, channels)), None)
    assert not window_kernel.serves(spec._replace(eps=1e-3), x, None)
    assert not window_kernel.serves(spec, x[:, 0], None)
