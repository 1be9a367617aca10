"""How uneven loads are: by expert, by device, by scope of counting.

All functions take loads `[..., E]`, in tokens or as shares, and work on the last axis: layers, steps or seeds lead. Of
a model report the mean and the maximum over layers (`over_layers`). With no load at all the violations are NaN.
Source: `wang:24`, eq. 4, for MaxVio and its scopes.

Letters: `E` experts, `L` = sum(load) / E the balanced load.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import xlogy

from research.core import validate as checks
from research.core.types import Array, Float, Int

__all__ = [
    "Scopes", "coefficient_of_variation", "dead_experts", "device_load", "device_violation", "entropy",
    "max_violation", "max_violation_scopes", "min_violation", "over_layers", "straggler_slowdown", "summary",
    "total_variation",
]  # fmt: skip


def _relative(load: Float[Array, "... E"]) -> Float[Array, "... E"]:
    """A / L."""
    load = jnp.asarray(load)
    load = load.astype(jnp.result_type(float, load.dtype))
    return load / load.mean(axis=-1, keepdims=True)


def max_violation(load: Int[Array, "... E"]) -> Float[Array, "..."]:
    """MaxVio = max_k A_k / L - 1, in [0, E - 1]; E / K - 1 at most where a token takes K different experts."""
    return _relative(load).max(axis=-1) - 1


def min_violation(load: Int[Array, "... E"]) -> Float[Array, "..."]:
    """MinVio = 1 - min_k A_k / L, in [0, 1]; 1 where an expert is dead."""
    return 1 - _relative(load).min(axis=-1)


def coefficient_of_variation(load: Int[Array, "... E"]) -> Float[Array, "..."]:
    """Standard deviation of the loads over their mean, both over the E experts."""
    return _relative(load).std(axis=-1)


def entropy(load: Int[Array, "... E"]) -> Float[Array, "..."]:
    """Entropy of the load shares over ln E, in [0, 1]; 1 at balance."""
    share = _relative(load) / load.shape[-1]
    return -xlogy(share, share).sum(axis=-1) / jnp.log(load.shape[-1])


def dead_experts(load: Int[Array, "... E"]) -> Int[Array, "..."]:
    """How many experts have no token at all."""
    return (jnp.asarray(load) == 0).sum(axis=-1)


def total_variation(load: Int[Array, "... E"]) -> Float[Array, "..."]:
    """Distance of the load shares from uniform, in [0, 1): the share of choices that would have to move."""
    return jnp.abs(_relative(load) - 1).sum(axis=-1) / (2 * load.shape[-1])


def device_load(load: Int[Array, "... E"], num_devices: int) -> Int[Array, "... D"]:
    """Loads of devices that hold E / D neighbouring experts each. Raises ValueError where D does not divide E."""
    checks.at_least("num_devices", num_devices, 1)
    num_experts = load.shape[-1]
    checks.require(num_experts % num_devices == 0, "num_devices", f"divide the {num_experts} experts", num_devices)
    return jnp.asarray(load).reshape(*load.shape[:-1], num_devices, -1).sum(axis=-1)


def device_violation(load: Int[Array, "... E"], num_devices: int) -> Float[Array, "..."]:
    """DevVio: MaxVio of the devices' loads."""
    return max_violation(device_load(load, num_devices))


def straggler_slowdown(load: Int[Array, "... E"], num_devices: int, fixed: float = 0.0) -> Float[Array, "..."]:
    """Time of a step over that of a balanced one, where all devices wait for the most loaded: >= 1.

    Args:
      fixed: share of a balanced step that does not depend on loads (attention, exchange), in [0, 1].
    """
    checks.in_range("fixed", fixed, 0, 1)
    return 1 + (1 - fixed) * device_violation(load, num_devices)


class Scopes(NamedTuple):
    """MaxVio by what was counted together."""

    overall: Float[Array, ""]  # MaxVio_global: everything
    batch: Float[Array, " N"]  # MaxVio_batch: one step
    computational: Float[Array, "N M G"]  # MaxVio_compbatch: one micro-batch on one expert-parallel group


def max_violation_scopes(loads: Int[Array, "N M R E"], group_size: int = 1) -> Scopes:
    """MaxVio of N steps of M micro-batches on R replicas, `group_size` neighbours of which share their experts.

    Raises ValueError where `group_size` does not divide R.
    """
    checks.shape("loads", loads, (None,) * 4)
    checks.at_least("group_size", group_size, 1)
    steps, micro, replicas, experts = loads.shape
    checks.require(replicas % group_size == 0, "group_size", f"divide the {replicas} replicas", group_size)
    groups = jnp.asarray(loads).reshape(steps, micro, -1, group_size, experts).sum(axis=3)
    steps_total = groups.sum(axis=(1, 2))
    return Scopes(max_violation(steps_total.sum(axis=0)), max_violation(steps_total), max_violation(groups))


def summary(load: Int[Array, "... E"], num_devices: int = 1) -> dict[str, Float[Array, "..."]]:
    """All metrics of loads by their short names, each of shape [...]."""
    return {
        "max_vio": max_violation(load),
        "min_vio": min_violation(load),
        "dev_vio": device_violation(load, num_devices),
        "cv": coefficient_of_variation(load),
        "entropy": entropy(load),
        "dead": dead_experts(load),
        "tv": total_variation(load),
    }


def over_layers(values: dict[str, Float[Array, "layers *rest"]]) -> dict[str, Float[Array, "*rest"]]:
    """Mean and maximum over a leading axis of layers: NAME/mean and NAME/max for every name."""
    reduced = {}
    for name, value in values.items():
        value = jnp.asarray(value, jnp.result_type(float))
        reduced |= {f"{name}/mean": value.mean(axis=0), f"{name}/max": value.max(axis=0)}
    return reduced
