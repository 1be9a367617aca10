"""How expert biases follow loads: five rules, six schedules, and options. One update per optimiser step.

p_n = p_{n-1} + u_n g(e), e = L - A the missing load of each expert, L = sum(A) / E: a bias is added to the score, falls
for overloaded experts and rises for others. This is a subgradient step on the dual of balanced assignment; see
`assignment.dual_value`. Loads are those of all replicas and micro-batches of the step; nothing here communicates.

| rule | g(e) | step size in |
|---|---|---|
| "sign" | sign(e), sign(0) = 0 | score units |
| "prop" | e / T | score units per share of the tokens |
| "prop_raw" | e | score units per token |
| "rel" | e / L | score units per share of the balanced load |
| "prop_l1" | e / max(1, sum_k abs(e_k)) | score units |

| schedule | u_n, n = 1, 2, ... |
|---|---|
| "const" | u |
| "inv", "inv_sqrt" | u / n, u / sqrt(n) |
| "inv_offset" | u / (n + offset) |
| "cosine" | from u to final u along half a cosine in `horizon` updates, then final u |
| "piecewise" | u for `horizon` updates, then final u |

Source: `wang:24`, Algorithm 1 (sign, const, u = 1e-3); `han:25` for proportional steps and schedules.

Letters: `T` tokens, `E` experts, `K` experts per token.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float, Int

__all__ = ["RULES", "SCHEDULES", "BiasState", "Rule", "load_error"]

RULES = ("sign", "prop", "prop_raw", "rel", "prop_l1")
SCHEDULES = ("const", "inv", "inv_sqrt", "inv_offset", "cosine", "piecewise")


class BiasState(NamedTuple):
    """What is remembered from step to step, and checkpointed with a model."""

    bias: Float[Array, " E"]  # p, added to scores for the choice of experts and for nothing else
    updates: Int[Array, ""]  # updates done
    velocity: Float[Array, " E"]  # of `momentum`, in tokens
    average: Float[Array, " E"]  # of `ema_load`, in tokens, before the correction for its start at zero


def load_error(load: Int[Array, " E"], dtype=None) -> Float[Array, " E"]:
    """e = L - A in tokens, L = sum(A) / E: with the sign of the exact number, however large the loads.

    Integer loads are split as L = q + r / E in integers, so that E A_k against K T is decided without rounding and
    without overflow for sum(A) < 2**31. Floating loads (shares, averages) are accepted, without that promise.
    """
    load = jnp.asarray(load)
    dtype = jnp.result_type(float) if dtype is None else dtype
    num_experts = load.shape[-1]
    total = load.sum(axis=-1, keepdims=True)
    if not jnp.issubdtype(load.dtype, jnp.integer):
        return (total / num_experts - load).astype(dtype)
    quotient, remainder = total // num_experts, total % num_experts
    return (quotient - load).astype(dtype) + remainder.astype(dtype) / num_experts


class Rule(eqx.Module):
    """Names are static, numbers are traced: a grid of step sizes is one program under `vmap`.

    Raises ValueError for unknown names, a negative or NaN step size, and options out of range.
    """

    rule: str = eqx.field(static=True, default="sign")
    schedule: str = eqx.field(static=True, default="const")
    step_size: float | Float[Array, ""] = 1e-3  # u, >= 0; in the units of the rule
    offset: float | Float[Array, ""] = 0.0  # of "inv_offset", in updates
    horizon: float | Float[Array, ""] = 1.0  # of "cosine" and "piecewise", in updates
    final: float | Float[Array, ""] = 0.0  # share of u that remains after the horizon, in [0, 1]
    center: bool = eqx.field(static=True, default=False)  # take the mean off each increment; routes the same
    clip: float | Float[Array, ""] = jnp.inf  # |p_k| <= clip
    momentum: float | Float[Array, ""] = 0.0  # v <- momentum v + e, and v in place of e; in [0, 1)
    ema_load: float | Float[Array, ""] = 0.0  # weight of the past in an average of loads in place of loads; in [0, 1)

    def __check_init__(self):
        checks.one_of("Rule.rule", self.rule, RULES)
        checks.one_of("Rule.schedule", self.schedule, SCHEDULES)
        checks.at_least("Rule.step_size", self.step_size, 0)
        checks.finite("Rule.step_size", self.step_size)
        checks.at_least("Rule.offset", self.offset, 0)
        checks.positive("Rule.horizon", self.horizon)
        checks.in_range("Rule.final", self.final, 0, 1)
        checks.at_least("Rule.clip", self.clip, 0)
        for name in ("momentum", "ema_load"):
            value = getattr(self, name)
            if checks.is_concrete(value):
                inside = bool(np.all((np.asarray(value) >= 0) & (np.asarray(value) < 1)))
                checks.require(inside, f"Rule.{name}", "lie in [0, 1)", value)

    def init(self, num_experts: int, dtype=jnp.float32, bias: Float[Array, " E"] | None = None) -> BiasState:
        """Before the first update, at `bias` or zero. Raises ValueError for fewer than two experts or a wrong shape."""
        checks.at_least("num_experts", num_experts, 2)
        zeros = jnp.zeros(num_experts, dtype)
        if bias is not None:
            checks.shape("bias", bias, (num_experts,))
            checks.finite("bias", bias)
        return BiasState(zeros if bias is None else jnp.asarray(bias, dtype), jnp.int32(0), zeros, zeros)

    def step_size_at(self, update: Int[Array, "..."]) -> Float[Array, "..."]:
        """u_n of update n = 1, 2, ..."""
        n = jnp.asarray(update, jnp.result_type(float))
        if self.schedule == "inv":
            return self.step_size / n
        if self.schedule == "inv_sqrt":
            return self.step_size / jnp.sqrt(n)
        if self.schedule == "inv_offset":
            return self.step_size / (n + self.offset)
        if self.schedule == "const":
            return self.step_size * jnp.ones_like(n)
        done = jnp.minimum((n - 1) / self.horizon, 1.0)
        left = 0.5 * (1 + jnp.cos(jnp.pi * done)) if self.schedule == "cosine" else (done < 1).astype(n.dtype)
        return self.step_size * (self.final + (1 - self.final) * left)

    def update(self, state: BiasState, load: Int[Array, " E"], top_k: int) -> BiasState:
        """The state after a step with these loads.

        Args:
          state: as returned by `init` or `update`.
          load: tokens per expert, over everything that the optimiser step has seen; their sum is K T.
          top_k: K; T is taken as sum(load) / K.
        """
        checks.shape("load", load, state.bias.shape)
        dtype = state.bias.dtype
        n = state.updates + 1
        total = jnp.sum(load).astype(dtype)  # rounded above 2**24 in float32; only rules' scales depend on it
        past = jnp.asarray(self.ema_load, dtype)
        average = past * state.average + (1 - past) * load_error(load, dtype)
        # Averages of errors are those of loads where all steps have as many tokens. The correction is 1 without a past.
        velocity = self.momentum * state.velocity + average / (1 - past ** n.astype(dtype))
        increment = self.step_size_at(n).astype(dtype) * self._direction(velocity, total, top_k)
        if self.center:
            increment = increment - increment.mean()
        bias = jnp.clip(state.bias + increment, -self.clip, self.clip).astype(dtype)
        return BiasState(bias, n, velocity.astype(dtype), average)

    def _direction(self, error, total, top_k):
        if self.rule == "sign":
            return jnp.sign(error)
        if self.rule == "prop":
            return error * top_k / jnp.maximum(total, 1)
        if self.rule == "rel":
            return error * error.shape[-1] / jnp.maximum(total, 1)
        if self.rule == "prop_l1":
            return error / jnp.maximum(jnp.abs(error).sum(), 1)
        return error
