"""Balanced trees of a learned commutative operator: the public function."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from pallas_kernels._dispatch import Candidate, choose
from pallas_kernels._dispatch import explain as _explain
from pallas_kernels.monoid_tree import kernel_tpu, kernel_tpu_back, reference, xla

__all__ = ["monoid_tree"]

_NAME = "monoid_tree"
Impl = Literal["xla", "pallas_tpu", "pallas_interpret", "reference"]


def monoid_tree(
    x: jax.Array,
    mask: jax.Array,
    input_kernel: jax.Array,
    hidden_kernel: jax.Array,
    input_bias: jax.Array,
    hidden_bias: jax.Array,
    *,
    impl: Impl | None = None,
) -> jax.Array:
    """Combines the elements of each collection by a balanced binary tree of a o b = (GRU(a, b) + GRU(b, a)) / 2.

    GRU(input x, hidden h) = (1 - z) n + z h, with r, z = sigma(x W + c + h R + d) and n = tanh(x W_n + c_n +
    r (h R_n + d_n)); columns are those of r, z and n. Elements 2 i and 2 i + 1 are combined, then their results
    likewise; an odd last one goes up as it is. An absent element is the formal identity: combining with it gives the
    other one, and it touches neither a result nor a derivative. The operator is commutative to the bit.

    Args:
      x: `[G, N, H]` floating: G collections of N elements.
      mask: `[G, N]` bool, True takes part.
      input_kernel: W, `[H, 3 H]` of the dtype of x, as are the others.
      hidden_kernel: R, `[H, 3 H]`.
      input_bias: c, `[3 H]`.
      hidden_bias: d, `[3 H]`.
      impl: None for the best implementation on each platform, or one by name, which never falls back.

    Returns:
      `[G, H]`, 0 for an empty collection. Differentiable once, in all but the mask. Products have jax's default
      precision, as it is set where this is called.

    Raises:
      ValueError: shapes or dtypes do not fit, or unknown impl.
      NotImplementedError: the named impl cannot serve these arguments; the message says why.

    Sources: `ong:22` for the operator, `cho:14` for the GRU.
    """
    x, mask = jnp.asarray(x), jnp.asarray(mask)
    weights = tuple(map(jnp.asarray, (input_kernel, hidden_kernel, input_bias, hidden_bias)))
    _check(x, mask, *weights)
    return choose(_NAME, impl, _candidates(), x, mask, *weights)(x, mask, *weights)


def _check(x, mask, input_kernel, hidden_kernel, input_bias, hidden_bias):
    if x.ndim != 3 or not jnp.issubdtype(x.dtype, jnp.floating) or 0 in x.shape:
        raise ValueError(f"x must be floating [G, N, H] with no axis empty, got {x.dtype} {x.shape}.")
    if mask.dtype != bool or mask.shape != x.shape[:2]:
        raise ValueError(f"mask must be bool {x.shape[:2]}, got {mask.dtype} {mask.shape}.")
    width = x.shape[2]
    for name, array, shape in (
        ("input_kernel", input_kernel, (width, 3 * width)),
        ("hidden_kernel", hidden_kernel, (width, 3 * width)),
        ("input_bias", input_bias, (3 * width,)),
        ("hidden_bias", hidden_bias, (3 * width,)),
    ):
        if array.shape != shape or array.dtype != x.dtype:
            raise ValueError(f"{name} must be {x.dtype} {shape}, got {array.dtype} {array.shape}.")


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _on_the_chip(interpret, x, mask, *weights):
    return kernel_tpu.monoid_tree(x, mask, *weights, interpret=interpret)


def _there(interpret, x, mask, *weights):
    y, left = kernel_tpu.forward(x, mask, *weights, keep=True, interpret=interpret)
    return y, (x, mask, weights, left)


def _back(interpret, kept, cotangent):
    x, mask, weights, left = kept
    of_x, *of_weights = kernel_tpu_back.backward(x, mask, *weights, left, cotangent, interpret=interpret)
    return of_x, None, *of_weights


_on_the_chip.defvjp(_there, _back)


@functools.cache
def _candidates():
    kernel, interpreted = (functools.partial(_on_the_chip, interpret) for interpret in (False, True))
    return {
        "pallas_tpu": Candidate({"tpu": kernel}, kernel_tpu.unsupported),
        # Its derivatives are those of the plain program, which keeps what it has computed.
        "xla": Candidate({"default": xla.monoid_tree}),
        "pallas_interpret": Candidate({"default": interpreted}, kernel_tpu.unsupported, automatic=False),
        "reference": Candidate({"default": reference.monoid_tree}, automatic=False),
    }


def explain(platform: str) -> dict[str, str | None]:
    """Implementation -> None if `impl=None` takes it on the platform, else why not; 8 collections of 1,024."""
    return _explain(_candidates(), platform, *abstract(8, 1024, 128))


def abstract(collections, elements, channels):
    """Arguments as `jax.ShapeDtypeStruct` trees: x, mask and the four weights."""

    def array(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype)

    kernel, bias = array(channels, 3 * channels), array(3 * channels)
    x, mask = array(collections, elements, channels), array(collections, elements, dtype=jnp.bool_)
    return x, mask, kernel, kernel, bias, bias
