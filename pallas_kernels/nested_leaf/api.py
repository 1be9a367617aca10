"""Sums over the innermost children of many nodes, whose random numbers are made on the spot: the public function."""

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp

from pallas_kernels._dispatch import Candidate, choose
from pallas_kernels._dispatch import explain as _explain
from pallas_kernels.nested_leaf import kernel_tpu, reference, xla
from pallas_kernels.nested_leaf.variates import LAWS

__all__ = ["nested_leaf"]

_NAME = "nested_leaf"
Impl = Literal["xla", "pallas_tpu", "pallas_interpret", "reference"]
Leaf = Callable[[tuple, tuple, tuple], Sequence[jax.Array]]


def nested_leaf(
    words: jax.Array,
    first: jax.Array,
    count: jax.Array,
    state: jax.Array,
    constants: jax.Array,
    leaf: Leaf,
    *,
    kinds: tuple[str, ...],
    tag: int,
    most: int,
    impl: Impl | None = None,
) -> jax.Array:
    """Two sums over children for each of `N` lanes, which lie in `T` tiles of `N / T` neighbours.

    A lane is a node of a tree, or a piece of one: it runs `m` children, as many as all lanes of its tile, the first
    (m + 1) // 2 of them numbered from `first[0]` on and the others from `first[1]` on. A whole node has 0 and
    (m + 1) // 2. Child c of a node with key words K draws word 2q and 2q + 1 of T(K; c, tag + q), Threefry-2x32, one
    word for each variate.

    Args:
      words: `[2, N]` uint32 keys.
      first: `[2, N]` uint32.
      count: `[T]` int32, m of each tile, in [0, most]; larger ones are not checked.
      state: `[S, N]` float32, S >= 1: what a leaf knows of its parent.
      constants: `[K]` float32 that all lanes share, K >= 0.
      leaf: `leaf(constants, state, variates) -> values`: from a tuple of K numbers and tuples of S and V arrays of one
        shape to Z >= 1 arrays of that shape. Pure and elementwise; arrays of its own belong among the constants.
      kinds: V >= 1 laws, each "normal" or "uniform" (on the open unit interval).
      tag: in [0, 2^32 - V): keeps these draws apart from others under the same keys.
      most: >= 1, static: work is planned and, by the reference, allocated for so many children.
      impl: None for the best implementation on each platform, or one by name, which never falls back.

    Returns:
      `[2, Z, N]` float32, sums one child after the other: to keep roundings small, let a lane have few and add up lanes
      pairwise. Implementations differ by roundings of the inverse normal, some 1e-6, and of the sums.

    Differentiable in `state` and `constants` where `leaf` is, by sums of its derivatives.

    Raises:
      ValueError: shapes, dtypes or options do not fit, or unknown impl.
      NotImplementedError: the named impl cannot serve these arguments; the message says why.
    """
    args = tuple(jnp.asarray(a) for a in (words, first, count, state, constants))
    _check(*args, kinds, tag, most)
    num_values = _num_values(leaf, args, kinds)
    options = {"leaf": leaf, "kinds": tuple(kinds), "tag": tag}
    run = choose(_NAME, impl, _candidates(options, most), *args)
    if impl == "reference":
        return run(*args)
    whole = jax.custom_vjp(run)
    whole.defvjp(lambda *args: (run(*args), args), functools.partial(_pull, num_values, options, most, impl))
    return whole(*args)


def _pull(num_values, options, most, impl, args, cotangent):
    """Sums of the leaf's derivatives, by the operation itself; `cotangent [2, Z, N]`."""
    words, first, count, state, constants = args
    size, leaf = state.shape[0], options["leaf"]

    def slopes(shared, here, u):
        shared = tuple(jnp.full_like(here[0], number) for number in shared)
        values, pull = jax.vjp(lambda shared, here: tuple(leaf(shared, here, u)), shared, here)
        found = []
        for z in range(num_values):
            one = tuple(jnp.full_like(value, float(i == z)) for i, value in enumerate(values))
            by_constants, by_state = pull(one)
            found += [*by_state, *by_constants]
        return found

    rest = {name: value for name, value in options.items() if name != "leaf"}
    sums = nested_leaf(words, first, count, state, constants, slopes, **rest, most=most, impl=impl)
    found = sums.reshape(2, num_values, -1, sums.shape[-1])
    found = jnp.sum(found * cotangent[:, :, None], axis=(0, 1))
    return None, None, None, found[:size], jnp.sum(found[size:], axis=-1)


def _candidates(options, most):
    kernel = functools.partial(kernel_tpu.nested_leaf, **options, most=most)
    unsupported = functools.partial(kernel_tpu.unsupported, leaf=options["leaf"], kinds=options["kinds"])
    return {
        "pallas_tpu": Candidate({"tpu": kernel}, unsupported),
        "xla": Candidate({"default": functools.partial(xla.nested_leaf, **options)}),
        "pallas_interpret": Candidate(
            {"default": functools.partial(kernel, interpret=True)}, unsupported, automatic=False
        ),
        "reference": Candidate(
            {"default": functools.partial(reference.nested_leaf, **options, most=most)}, automatic=False
        ),
    }


def _check(words, first, count, state, constants, kinds, tag, most):
    if count.ndim != 1 or count.shape[0] < 1 or count.dtype != jnp.int32:
        raise ValueError(f"count must be int32 [T], T >= 1, got {count.dtype} {count.shape}.")
    lanes = words.shape[-1] if words.ndim == 2 else 0
    if words.shape != (2, lanes) or words.dtype != jnp.uint32 or lanes < 1 or lanes % count.shape[0]:
        raise ValueError(
            f"words must be uint32 (2, N), N >= 1 a multiple of the {count.shape[0]} tiles, got {words.dtype} "
            f"{words.shape}."
        )
    if first.shape != words.shape or first.dtype != jnp.uint32:
        raise ValueError(f"first must be uint32 {words.shape}, got {first.dtype} {first.shape}.")
    if state.ndim != 2 or state.shape[0] < 1 or state.shape[1] != lanes or state.dtype != jnp.float32:
        raise ValueError(f"state must be float32 (S, {lanes}), S >= 1, got {state.dtype} {state.shape}.")
    if constants.ndim != 1 or constants.dtype != jnp.float32:
        raise ValueError(f"constants must be float32 (K,), got {constants.dtype} {constants.shape}.")
    if not kinds or any(kind not in LAWS for kind in kinds):
        raise ValueError(f"kinds must be one or more of {', '.join(LAWS)}, got {kinds!r}.")
    if not 0 <= tag < (1 << 32) - len(kinds):
        raise ValueError(f"tag must lie in [0, 2**32 - {len(kinds)}), got {tag}.")
    if most < 1:
        raise ValueError(f"most must be >= 1, got {most}.")


def _num_values(leaf, args, kinds):
    lanes = jax.ShapeDtypeStruct((args[0].shape[1],), jnp.float32)
    numbers = (jax.ShapeDtypeStruct((), jnp.float32),) * args[4].shape[0]
    values = jax.eval_shape(leaf, numbers, (lanes,) * args[3].shape[0], (lanes,) * len(kinds))
    if not isinstance(values, tuple | list) or not values:
        raise ValueError(f"leaf must return a tuple of arrays, got {type(values).__name__}.")
    wrong = next((value for value in values if (value.shape, value.dtype) != (lanes.shape, lanes.dtype)), None)
    if wrong is not None:
        raise ValueError(f"leaf must return float32 arrays of the lanes' shape, got {wrong.dtype} {wrong.shape}.")
    return len(values)


def explain(platform: str) -> dict[str, str | None]:
    """Implementation -> None if `impl=None` takes it on the platform, else why not; a walk with one normal."""
    options = {"leaf": lambda shared, here, u: (here[0] + shared[0] * u[0],), "kinds": ("normal",), "tag": 0}
    return _explain(_candidates(options, 8), platform, *abstract(4, 4096, 1, 1))


def abstract(tiles, width, size, num_constants):
    """Arguments as `jax.ShapeDtypeStruct` trees."""

    def array(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype)

    lanes = tiles * width
    keys = array(2, lanes, dtype=jnp.uint32)
    return keys, keys, array(tiles, dtype=jnp.int32), array(size, lanes), array(num_constants)
