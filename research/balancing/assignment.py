"""Balanced assignment, its Lagrangian dual, and what a bias does to it.

The problem: max sum_ik s_ik x_ik subject to sum_k x_ik = K for every token, sum_i x_ik = L = K T / E for every expert,
0 <= x <= 1. With the loads priced by p, the best x is the biased top-K, and

    D(p) = sum_i TopKSum(s_i + p) - L sum_k p_k

is convex, piecewise linear and constant along (1, ..., 1); A(p) - L is a subgradient; min D is the optimum of the
problem, which has an integral solution where L is an integer. D(p) - V(p) = p (A(p) - L) for V the value of the biased
top-K: with exactly balanced loads both are optimal.
Source: `han:25` for balancing as primal-dual; the identities are elementary and derived here.

Letters: `T` tokens, `E` experts, `K` experts per token.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from pallas_kernels import topk_route as _kernel
from research.balancing import gating
from research.balancing.bias_update import load_error
from research.core import loops
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int

__all__ = [
    "Assigned", "Gated", "Problem", "assign", "balanced_load", "chosen", "dual_gap", "dual_value", "exact_sum",
    "is_balanced", "margins", "quality_loss", "route", "switches", "switching_benefit", "topk_sum", "validate",
]  # fmt: skip


class Problem(eqx.Module):
    """Scores of a batch of tokens; each takes K experts."""

    scores: Float[Array, "T E"]  # whatever the bias is added to
    top_k: int = eqx.field(static=True)  # K
    valid: Bool[Array, " T"] | None = None  # False: padding, takes no expert and counts nowhere

    @property
    def num_experts(self) -> int:
        return self.scores.shape[-1]


def validate(problem: Problem, *, exact: bool = False) -> None:
    """Raises ValueError naming the argument: scores must be finite floating `[T, E]`, T >= 1, E >= 2, 1 <= K <= E.

    Args:
      exact: whether loads must be able to be equal: E divides K T.
    """
    scores, k = problem.scores, problem.top_k
    checks.shape("scores", scores, (None, None))
    tokens, num_experts = scores.shape
    checks.at_least("number of tokens", tokens, 1)
    checks.at_least("number of experts", num_experts, 2)
    checks.require(jnp.issubdtype(scores.dtype, jnp.floating), "scores", "be floating-point", scores.dtype)
    checks.finite("scores", scores)
    checks.in_range("top_k", k, 1, num_experts)
    if problem.valid is not None:
        checks.shape("valid", problem.valid, (tokens,))
        checks.require(problem.valid.dtype == bool, "valid", "be bool", problem.valid.dtype)
        tokens = int(problem.valid.sum()) if checks.is_concrete(problem.valid) else None
        checks.require(tokens != 0, "valid", "have at least one valid token", 0)
    if exact and tokens is not None:
        allowed = f"have K T divisible by the {num_experts} experts; bound loads by floor and ceiling instead"
        checks.require(k * tokens % num_experts == 0, "scores", allowed, f"K T = {k * tokens}")


def balanced_load(problem: Problem) -> Float[Array, ""]:
    """L = K T / E in tokens, T the valid ones; a whole number only where E divides K T."""
    dtype = problem.scores.dtype
    tokens = problem.scores.shape[0] if problem.valid is None else problem.valid.sum()
    return jnp.asarray(problem.top_k * tokens, dtype) / problem.num_experts


def exact_sum(x: Float[Array, " N"]) -> Float[Array, ""]:
    """The sum of a vector with the error of one rounding: pairwise, what each addition loses summed on the side.

    D and V are sums over tokens of which only small differences are of interest.
    """
    lost = jnp.zeros_like(x)
    while x.shape[0] > 1:
        half = -(-x.shape[0] // 2)
        pad = ((0, 2 * half - x.shape[0]),)
        x, lost = jnp.pad(x, pad), jnp.pad(lost, pad)
        x, error = loops.two_sum(x[:half], x[half:])
        lost = lost[:half] + lost[half:] + error
    return x[0] + lost[0]


def topk_sum(scores: Float[Array, "T E"], k: int) -> Float[Array, " T"]:
    """TopKSum: the sum of each row's k largest entries."""
    return jax.lax.top_k(scores, k)[0].sum(axis=-1)


def dual_value(problem: Problem, bias: Float[Array, " E"]) -> Float[Array, ""]:
    """D(p) by its definition; `assign` gives it with the loads."""
    sums = topk_sum(problem.scores + bias[None], problem.top_k)
    if problem.valid is not None:
        sums = jnp.where(problem.valid, sums, 0)
    return exact_sum(sums) - balanced_load(problem) * bias.sum()


class Assigned(NamedTuple):
    """The biased top-K of a problem."""

    index: Int[Array, "T K"]  # best first; of equal ones the lowest expert; E for padding
    load: Int[Array, " E"]  # A(p), in tokens
    value: Float[Array, ""]  # V(p), sum of the chosen scores without bias
    dual: Float[Array, ""]  # D(p)


def assign(problem: Problem, bias: Float[Array, " E"]) -> Assigned:
    """What the bias makes tokens choose. Raises ValueError for a bias of another shape than [E]."""
    checks.shape("bias", bias, (problem.num_experts,))
    found = _kernel.topk_route(problem.scores, bias, problem.top_k, valid=problem.valid)
    value = exact_sum(found.score.sum(axis=-1))
    # The loads' error, not the loads, is multiplied: no cancellation of L sum(p).
    return Assigned(found.index, found.load, value, value - bias @ load_error(found.load, bias.dtype))


def margins(found: _kernel.TopkRoute, bias: Float[Array, " E"]) -> Float[Array, " T"]:
    """The K-th less the (K+1)-th largest biased score of each valid token, >= 0, of a routing with its threshold."""
    return found.score[:, -1] + bias[found.index[:, -1]] - found.threshold


class Gated(NamedTuple):
    """A routing decision with the weights of the experts' outputs."""

    index: Int[Array, "T K"]
    gate: Float[Array, "T K"]
    load: Int[Array, " E"]


def route(
    scores: Float[Array, "T E"],
    bias: Float[Array, " E"],
    top_k: int,
    *,
    renormalise: bool = False,
    scale: float = 1.0,
    valid: Bool[Array, " T"] | None = None,
) -> Gated:
    """Biased top-K with gates from the scores without bias. `wang:24`, Algorithm 1.

    Args:
      renormalise: whether gates of a token are divided by their sum + 1e-20.
      scale: multiplies the gates.
    """
    found = _kernel.topk_route(scores, jax.lax.stop_gradient(bias), top_k, valid=valid)
    return Gated(found.index, gating.gates(found.score, renormalise, scale), found.load)


def is_balanced(load: Int[Array, " E"]) -> Bool[Array, ""]:
    """Whether all loads are equal, in integers: the certificate that the assignment is optimal."""
    return jnp.all(load == load[:1])


def dual_gap(dual: Float[Array, "..."], optimum: Float[Array, "..."]) -> Float[Array, "..."]:
    """D(p) - OPT, >= 0 where the optimum is that with equal loads."""
    return dual - optimum


def quality_loss(value: Float[Array, "..."], optimum: Float[Array, "..."]) -> Float[Array, "..."]:
    """OPT - V(p): what balance still costs; negative where uneven loads buy more."""
    return optimum - value


def chosen(index: Int[Array, "T K"], num_experts: int) -> Bool[Array, "T E"]:
    """The selection x as a mask; slots of padding (index E) choose nothing."""
    return jnp.any(index[:, :, None] == jnp.arange(num_experts)[None, None], axis=1)


def switching_benefit(problem: Problem, old: Int[Array, "T K"], bias: Float[Array, " E"]) -> Float[Array, " T"]:
    """b_i >= 0: what token i gains under `bias` by choosing anew in place of its old experts, in score units."""
    biased = problem.scores + bias[None]
    kept = jnp.take_along_axis(biased, jnp.minimum(old, problem.num_experts - 1), axis=1).sum(axis=-1)
    gain = topk_sum(biased, problem.top_k) - kept
    return gain if problem.valid is None else jnp.where(problem.valid, gain, 0)


def switches(old: Int[Array, "T K"], new: Int[Array, "T K"], num_experts: int) -> Int[Array, "E E"]:
    """How many tokens dropped expert j (row) and picked expert k (column); the diagonal is zero."""
    before, after = chosen(old, num_experts), chosen(new, num_experts)
    dropped, picked = before & ~after, after & ~before
    # float32 products are exact and fast; counts stay below 2**24 for the sizes that anyone looks at pair by pair.
    return jnp.einsum("ij,ik->jk", dropped.astype(jnp.float32), picked.astype(jnp.float32)).astype(jnp.int32)
