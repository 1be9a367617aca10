"""Online matching by the closed-form rounding, many replicates at once: the public function."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from pallas_kernels import _blocks
from pallas_kernels._dispatch import Candidate, choose
from pallas_kernels._dispatch import explain as _explain
from pallas_kernels.match_scan import draws, kernel_tpu, reference, xla
from pallas_kernels.match_scan.plan import Output, Plan

__all__ = ["match_scan"]

_NAME = "match_scan"
Impl = Literal["xla", "pallas_tpu", "pallas_interpret", "reference"]


def match_scan(
    plan: Plan,
    words: jax.Array,
    *,
    discards: bool = True,
    count_free: bool = False,
    block: int | None = None,
    impl: Impl | None = None,
) -> Output:
    """Plays all times of a plan once for each key.

    At each time free nodes propose by decreasing weight, the best proposer is drawn from its law and matched if
    somebody arrives, and others are discarded at random so that each node is free with the right probability.

    Args:
      plan: `Plan` of `T` times, `J` types and `n` nodes.
      words: `[2, R]` uint32, the two words of each replicate's threefry2x32 key.
      discards: False: nobody is discarded (mode "keep").
      count_free: also count, for every time and node, the replicates in which the node is free before it.
      block: replicates simulated together; None for the tuned value. It changes the speed and no result.
      impl: None for the best implementation on each platform, or one by name, which never falls back.

    Returns:
      `Output(value [R], free [T + 1, n] or None)`. With one type the bits are the same whatever `impl`, `block` and
      backend; with several, where a compiler fuses products and sums, a discard may fall the other way if its uniform
      is within a rounding of its probability.

    Not differentiable: every decision compares with a random number.

    Raises:
      ValueError: shapes or dtypes do not fit, T is no multiple of 4, block < 1, or unknown impl.
      NotImplementedError: the named impl cannot serve these arguments; the message says why.

    Source: `braverman:24`, as `reference.py`.
    """
    plan, words = Plan(*(jnp.asarray(leaf) for leaf in plan)), jnp.asarray(words)
    _check(plan, words, block)
    return choose(_NAME, impl, _candidates(discards, count_free, block), plan, words)(plan, words)


@functools.cache
def _candidates(discards, count_free, block):
    options = {"discards": discards, "count_free": count_free}

    def by_xla(platform):
        def run(plan, words):
            return xla.match_scan(plan, words, **options, block=block or _sizes(platform, plan).programs)

        return run

    def kernel(plan, words, interpret=False):
        return kernel_tpu.match_scan(plan, words, **options, sizes=tpu_sizes(plan, words), interpret=interpret)

    def unsupported(plan, words):
        return kernel_tpu.unsupported(plan, words, count_free=count_free, sizes=tpu_sizes(plan, words))

    def tpu_sizes(plan, words):
        sizes = _sizes("tpu", plan)
        if block is not None:
            sizes = _blocks.BlockSizes(sizes.rows, _blocks.round_up(block, kernel_tpu.REGISTER))
        return kernel_tpu.fitting(sizes, plan.order.shape, words.shape[1])

    def all_as_one(plan, words):
        if plan.order.shape[1] > 1:
            raise NotImplementedError("match_scan[reference]: one type only; use impl=None or 'xla'.")
        return reference.match_scan(plan, words, **options)

    interpreted = functools.partial(kernel, interpret=True)
    return {
        "pallas_tpu": Candidate({"tpu": kernel}, unsupported),
        "xla": Candidate({"cpu": by_xla("cpu"), "default": by_xla("default")}),
        "pallas_interpret": Candidate({"default": interpreted}, unsupported, automatic=False),
        "reference": Candidate({"default": all_as_one}, automatic=False),
    }


def _sizes(platform, plan):
    return _blocks.tuned(_NAME, platform, jnp.float32, plan.order.shape[-1])


def _check(plan, words, block):
    if plan.order.ndim != 3:
        raise ValueError(f"plan.order must have 3 axes, got shape {plan.order.shape}.")
    num_steps = plan.order.shape[0]
    expected = {"order": jnp.int32, "weights": jnp.float32, "rates": jnp.float32, "proposing": jnp.int32,
                "arrivals": jnp.float32}  # fmt: skip
    for name, dtype in expected.items():
        leaf, shape = getattr(plan, name), plan.order.shape[: 2 if name in ("proposing", "arrivals") else 3]
        if leaf.shape != shape:
            raise ValueError(f"plan.{name} must have shape {shape}, got {leaf.shape}.")
        if leaf.dtype != dtype:
            raise ValueError(f"plan.{name} must be {jnp.dtype(dtype).name}, got {leaf.dtype}.")
    if 0 in plan.order.shape or num_steps % draws.STEPS_PER_DRAW:
        raise ValueError(
            f"plan must have nodes, types, and a multiple of {draws.STEPS_PER_DRAW} times, got {plan.order.shape}."
        )
    if words.ndim != 2 or words.shape[0] != 2 or words.shape[1] < 1 or words.dtype != jnp.uint32:
        raise ValueError(f"words must be uint32 of shape (2, R), R >= 1, got {words.dtype} {words.shape}.")
    if block is not None and block < 1:
        raise ValueError(f"block must be >= 1, got {block}.")


def explain(platform: str) -> dict[str, str | None]:
    """Implementation -> None if `impl=None` takes it on the platform, else why not; 100 nodes, 200 times."""
    shapes = {"order": (200, 1, 100), "weights": (200, 1, 100), "rates": (200, 1, 100), "proposing": (200, 1),
              "arrivals": (200, 1)}  # fmt: skip
    plan = Plan(**{
        name: jax.ShapeDtypeStruct(shape, jnp.int32 if name in ("order", "proposing") else jnp.float32)
        for name, shape in shapes.items()
    })  # fmt: skip
    words = jax.ShapeDtypeStruct((2, 4096), jnp.uint32)
    return _explain(_candidates(True, False, None), platform, plan, words)
