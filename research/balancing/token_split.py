"""Sequences split over a mesh of `data` x `model`, routed experts over `model`; everything else on every device.

A function of one device's sequences becomes one of all sequences. It gets a `Split`, which sums over the devices and
does nothing where there is one, so that the same lines serve both. Every device adds its share to the loss: gradients
of what all devices hold are summed over all of them; those of an expert already come from its whole `model` group,
through the exchange of tokens, and are summed over `data`.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from research.balancing.expert_parallel import AXES, check_axes
from research.balancing.language_model import Options
from research.core import validate as checks
from research.core.types import Array, Int

__all__ = ["AXES", "Split", "is_routed", "over", "weight_specs"]


@dataclasses.dataclass(frozen=True)
class Split:
    """How the sequences are split, seen from one device.

    Attributes:
      sizes: axis -> devices along it; empty for one device.
    """

    sizes: tuple[tuple[str, int], ...] = ()

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(name for name, _ in self.sizes)

    @property
    def devices(self) -> int:
        """How many devices share the sequences."""
        return math.prod(size for _, size in self.sizes)

    def sum(self, tree: Any) -> Any:
        """Sums over all devices."""
        return jax.lax.psum(tree, self.axes) if self.sizes else tree

    def sum_gradients(self, gradients: Any) -> Any:
        """Sums over the devices that hold a copy of each weight."""
        if not self.sizes:
            return gradients
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: jax.lax.psum(leaf, "data" if is_routed(path) else self.axes), gradients
        )

    def numbers(self, count: int) -> Int[Array, " count"]:
        """Numbers of this device's `count` parts among the parts of all devices."""
        first = jax.lax.axis_index(self.axes) * count if self.sizes else 0
        return first + jnp.arange(count)

    def options(self, options: Options, experts: int, everywhere: bool) -> Options:
        """The model's options on one device, with that many routed experts in a layer.

        With `everywhere`, shares of loads are counted over all devices.
        """
        if not self.sizes:
            return options
        held, axes = experts // dict(self.sizes)["model"], self.axes if everywhere else ()
        return dataclasses.replace(options, expert_axis="model", held=held, axes=axes)


def over(
    mesh: Mesh | None, function: Callable, weights: Any, text_specs: Any, experts: int, parts: int,
    *, returns_gradients: bool = False,
) -> Callable:  # fmt: skip
    """`function(split, params, weights, states, text, offsets, context)` of one device as one of all, without `split`.

    Args:
      mesh: with the axes `data` and `model`; None for one device.
      weights: the model's, of which only the structure matters.
      text_specs: axes of `text`. Those of `offsets` are both on its leading axis, all else is whole on every device.
      experts: routed ones of a layer, which the devices of `model` divide.
      parts: length of the leading axis of `offsets`, which all devices divide.
      returns_gradients: whether it returns gradients of the weights and two other things, instead of sums alone.

    Raises ValueError for a mesh without these axes, or of sizes that do not divide.
    """
    if mesh is None:
        return functools.partial(function, Split())
    check_axes(mesh)
    split = Split(tuple((name, mesh.shape[name]) for name in AXES))
    group = mesh.shape["model"]
    checks.require(experts % group == 0, "mesh", f"have an axis model that divides {experts} experts", group)
    allowed = f"have devices that divide {parts} stripes or sequences"
    checks.require(parts % split.devices == 0, "mesh", allowed, split.devices)
    specs = weight_specs(weights)
    # check_vma=False: scans of the model start from constant carries.
    return jax.shard_map(
        functools.partial(function, split), mesh=mesh, check_vma=False,
        in_specs=(P(), specs, P(), text_specs, P(AXES), P()),
        out_specs=(specs, P(), P()) if returns_gradients else P(),
    )  # fmt: skip


def weight_specs(weights: Any) -> Any:
    """The axes of each weight: routed experts `[n, E, ...]` are split over `model`, the rest is whole everywhere."""
    return jax.tree_util.tree_map_with_path(lambda path, _: P(None, "model") if is_routed(path) else P(), weights)


def is_routed(path) -> bool:
    """Whether a weight is a routed expert's: a direct child of a mixture called gate, up or down."""
    names = [getattr(entry, "key", None) for entry in path]
    return len(names) >= 2 and names[-2] == "mixture" and names[-1] in ("gate", "up", "down")
