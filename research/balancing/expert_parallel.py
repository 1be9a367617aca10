"""Routed experts split over the devices of one mesh axis: rows travel to their expert's device and back.

To be called by every device within `shard_map`, on its own tokens, with the weights of its own E / G experts. Slots
are sent by `all_to_all` in messages of one size, `capacity_factor` times what each device would get if loads were
equal. Where some device has more for another, all devices take part in further rounds, so that nothing is ever dropped;
how many there may be follows from the sizes, and where loads are balanced there is one.

Loads are no part of the exchange: every device counts its own tokens, and `total_load` sums over all axes of the mesh,
in integers, so that each device has the same loads and moves the same biases, to the bit.

Letters: `T` tokens of a device, `S` slots of each, `G` devices along the axis, `E` experts of all, `d` width.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from research.balancing import experts as local
from research.balancing.routing import Router, RoutingState
from research.core import validate as checks
from research.core.types import Array, Float, Int

__all__ = ["AXES", "Plan", "bytes_sent", "check_axes", "experts", "layer_step", "plan", "total_load"]

AXES = ("data", "model")


class Plan(NamedTuple):
    """Sizes of the exchange of one device."""

    capacity: int  # rows for each device in a round
    rounds: int  # at most


def plan(tokens: int, slots: int, experts_per_device: int, devices: int, capacity_factor: float = 1.25) -> Plan:
    """How many rows a round carries to each device, and after how many rounds none can be left.

    A token's experts differ, so that no more than min(S, E / G) of its slots go to one device.

    Raises:
      ValueError: a size below one, or capacity_factor not above 0.
    """
    sizes = {"tokens": tokens, "slots": slots, "experts_per_device": experts_per_device, "devices": devices}
    for name, value in sizes.items():
        checks.at_least(name, value, 1)
    checks.require(0 < capacity_factor < math.inf, "capacity_factor", "be above 0 and finite", capacity_factor)
    most = tokens * min(slots, experts_per_device)
    capacity = min(most, math.ceil(capacity_factor * tokens * slots / devices))
    return Plan(capacity, -(-most // capacity))


def experts(
    x: Float[Array, "T d"], index: Int[Array, "T S"], gate: Float[Array, "T S"], params: Mapping[str, Array],
    *, axis: str = "model", capacity_factor: float = 1.25, path: str = "blocked",
) -> Float[Array, "T d"]:  # fmt: skip
    """As `research.balancing.experts.experts` of all devices' experts, called by each device with its own tokens.

    Args:
      index: numbers of experts among all E, in the order of devices; E and above add nothing. A token's experts differ.
      params: weights `[E / G, ...]` of this device's experts.
      axis: name of the mesh axis over which experts are split.
      capacity_factor: rows of a message by what equal loads would need; less memory against more rounds.
      path: how each device computes its experts, of `experts.PATHS`.

    The rows that a device computes come from all G devices of its axis: derivatives of `params` are already summed over
    them, and remain to be summed over the mesh's other axes.
    """
    devices, held = jax.lax.axis_size(axis), params["gate"].shape[0]
    (tokens, slots), width = index.shape, x.shape[1]
    capacity, most = plan(tokens, slots, held, devices, capacity_factor)
    flat = jnp.minimum(index.reshape(-1), devices * held)
    device = flat // held
    rank, count = local.ranks(device, devices)
    longest = jax.lax.pmax(jnp.max(count), axis)

    def exchanged(rows):
        shape = devices, capacity, *rows.shape[1:]
        return jax.lax.all_to_all(rows.reshape(shape), axis, 0, 0, tiled=True).reshape(rows.shape)

    def one(number):
        place, slot = local.in_round(device, rank, number, devices, capacity)
        empty = jnp.zeros((1, width), x.dtype)
        sent = jnp.concatenate([x, empty])[slot // slots]
        owner = jnp.append(flat % held, held)[slot]  # a place without a row is of no expert
        out = local.slot_outputs(exchanged(sent), exchanged(owner)[:, None], params, path)[:, 0]
        return jnp.concatenate([exchanged(out), empty])[place]

    outputs = local.rounds(one, most, longest, capacity).reshape(tokens, slots, width)
    return local.combine(outputs, gate)


def check_axes(mesh: Mesh) -> None:
    """Raises ValueError for a mesh without the axes `data` and `model`."""
    for name in AXES:
        checks.require(name in mesh.shape, "mesh", f"have the axes {', '.join(AXES)}", tuple(mesh.shape))


def total_load(load: Int[Array, " E"], axes: Sequence[str] = AXES) -> Int[Array, " E"]:
    """Loads of all devices along the axes, the same on each; in integers, so that no order of sums matters."""
    return jax.lax.psum(load, tuple(axes))


def bytes_sent(sizes: Plan, devices: int, width: int, itemsize: int) -> int:
    """Bytes that one device hands to others in a round, there and back: rows, and the numbers of their experts."""
    return sizes.capacity * (devices - 1) * (2 * width * itemsize + 4)


def layer_step(
    router: Router, state: RoutingState, x: Float[Array, "T d"], matrix: Float[Array, "d E"],
    params: Mapping[str, Array], *, mesh: Mesh | None = None, capacity_factor: float = 1.25, path: str = "blocked",
) -> tuple[Float[Array, "T d"], Int[Array, " E"], RoutingState]:  # fmt: skip
    """One layer of experts on all tokens, and its router's update: outputs, loads and the new state.

    Args:
      router: one that routes by logits alone.
      matrix: the router's, logits are `x @ matrix`.
      params: weights of all E experts.
      mesh: with axes `data` and `model`, which split the tokens; experts are split over `model`. None for one device.
    """

    def local_step(split, state, x, matrix, params):
        logits = jnp.matmul(x, matrix, precision=jax.lax.Precision.HIGHEST)
        routing = router.route(state, logits)
        if split:
            out = experts(x, routing.index, routing.gate, params, capacity_factor=capacity_factor, path=path)
            load = total_load(routing.load)
        else:
            out, load = local.experts(x, routing.index, routing.gate, params, path), routing.load
        return out, load, router.update(state, load)

    if mesh is None:
        return local_step(False, state, x, matrix, params)
    check_axes(mesh)
    for name, size, parts in (
        ("x", x.shape[0], mesh.shape["data"] * mesh.shape["model"]),
        ("params", params["gate"].shape[0], mesh.shape["model"]),
    ):
        checks.require(size % parts == 0, name, f"have a leading axis that is a multiple of {parts}", size)
    return jax.shard_map(
        lambda *arguments: local_step(True, *arguments), mesh=mesh, check_vma=False,
        in_specs=(P(), P(AXES), P(), P("model")), out_specs=(P(AXES), P(), P()),
    )(state, x, matrix, params)  # fmt: skip
