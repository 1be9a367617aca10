"""What the laboratory costs and what every test of kernels runs, for this operation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._blocks import LANES
from pallas_kernels._lab.case import Case, Example
from pallas_kernels.topk_route import api, kernel_tpu, xla

__all__ = ["cases", "examples"]


def cases():
    """8 of 64 and of 256 experts; XLA on a quarter of the tokens or less, since its sort takes long to simulate."""
    return _case("e64", 64, peer=256), _case("e256", 256, peer=128, slow=True)


def _case(name, num_experts, *, peer, tokens=1024, k=8, slow=False):
    options = {"k": k, "threshold": False}
    columns = jax.ShapeDtypeStruct((num_experts, LANES), jnp.float32)
    marks = jax.ShapeDtypeStruct((1, tokens), jnp.int32)
    return Case(
        name, functools.partial(kernel_tpu.stream, **options, num_experts=num_experts),
        (api.abstract(tokens, num_experts)[0], columns, marks),
        functools.partial(xla.topk_route, **options), api.abstract(peer, num_experts),
        tokens / 1024, "1,024 tokens", peer / 1024, slow=slow,
    )  # fmt: skip


def examples():
    """Tokens and experts that fill no register, ties, infinities, tokens that are not valid, the threshold."""
    return (
        _example("odd", tokens=77, num_experts=13, k=3, threshold=False, kind="normal"),
        _example("ties", tokens=1300, num_experts=24, k=5, threshold=True, kind="ties"),
        _example("infinite", tokens=40, num_experts=9, k=8, threshold=True, kind="infinite"),
        _example("all of them", tokens=9, num_experts=4, k=4, threshold=False, kind="normal"),
    )


def _example(name, *, tokens, num_experts, k, threshold, kind):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(tokens, num_experts)).astype(np.float32)
    bias = rng.normal(size=num_experts).astype(np.float32)
    if kind == "ties":
        scores, bias = np.round(scores), np.round(bias)
    if kind == "infinite":
        scores[:, ::2] = -np.inf
    args = jnp.asarray(scores), jnp.asarray(bias), jnp.asarray(rng.random(tokens) < 0.9)
    options = {"k": k, "threshold": threshold}

    def call(scores, bias, valid, *, impl):
        run = functools.partial(api.topk_route, **options, impl=impl)
        return tuple(_parts(jax.jit(lambda s, b, v: run(s, b, valid=v))(scores, bias, valid)))

    def interpret(*args):
        *args, mode = args
        return tuple(_parts(jax.jit(functools.partial(kernel_tpu.topk_route, **options, interpret=mode))(*args)))

    return Example(name, args, call, interpret, 0.0, differentiable=(0,))


def _parts(found):
    """Arrays of floating-point numbers: integers below 2^24 as what they are, infinities as a number."""
    return (jnp.maximum(part.astype(jnp.float32), -1e30) for part in found if part is not None)
