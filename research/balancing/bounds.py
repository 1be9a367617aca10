"""What a bias update is guaranteed to do to fixed scores: one function per theorem; tests assert and figures draw them.

A bias p makes expert k take A_k tokens; L = K T / E; D, V and OPT are those of `assignment`; R is the score range. All
statements hold for every instance, in exact arithmetic. Source: `han:25` for the kinds of statement (monotone change,
preference, approximate balance); the constants and proofs are derived here.

Letters: `T` tokens, `E` experts, `K` experts per token, `n` updates.
"""

import jax
import jax.numpy as jnp
import numpy as np

from research.balancing.bias_update import Rule, load_error
from research.balancing.regret_bounds import gradient_bound
from research.core.types import Array, Float, Int

__all__ = [
    "dual_change", "dual_change_ahead", "dual_convergence", "dual_gap_bound", "has_integral_optimum",
    "largest_load_variance", "preference_violations", "proportional_spread", "quality_loss_bounds",
    "reachable_spread", "required_benefit", "score_range", "settled_load_deviation", "settling_time", "sign_spread",
    "travel_updates", "window_count",
]  # fmt: skip


def _excess_times(load, change):
    """(A - L) d."""
    return -jnp.sum(load_error(load, change.dtype) * change, axis=-1)


def dual_change(
    load: Int[Array, "*n E"], change: Float[Array, "*n E"], benefit: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """D(p + d) - D(p) = (A - L) d + sum_i b_i, an identity for every change d of the bias.

    Args:
      load: A(p), before the change.
      change: d.
      benefit: sum of `assignment.switching_benefit`, >= 0: what tokens gain by choosing anew.
    """
    return _excess_times(load, change) + benefit


def required_benefit(load: Int[Array, "*n E"], change: Float[Array, "*n E"]) -> Float[Array, "*n"]:
    """-(A - L) d: D falls if and only if the switching benefit is smaller than this.

    u sum_k |A_k - L| for the sign rule, (eps / T) sum_k (A_k - L)^2 for the proportional one.
    """
    return -_excess_times(load, change)


def dual_change_ahead(new_load: Int[Array, "*n E"], change: Float[Array, "*n E"]) -> Float[Array, "*n"]:
    """D(p + d) - D(p) <= (A(p + d) - L) d: no increase while no expert crosses L."""
    return _excess_times(new_load, change)


def preference_violations(switched: Int[Array, "*n E E"], load: Int[Array, "*n E"], rule: str) -> Int[Array, "*n"]:
    """How many switches go against the preference, 0 where no two biased scores of a token are equal.

    A token that drops j and picks k has sign(L - A_j) < sign(L - A_k) under "sign", and A_j > A_k under the
    proportional rules: from more loaded experts to less loaded ones only.

    Args:
      switched: of `assignment.switches`, rows dropped, columns picked, by the update that saw `load`.
      rule: of `bias_update.RULES`, without momentum, averages or clipping.
    """
    error = load_error(load)
    key = jnp.sign(error) if rule == "sign" else error
    against = key[..., :, None] >= key[..., None, :]
    return jnp.where(against, switched, 0).sum(axis=(-2, -1))


def score_range(scores: Float[Array, "T E"]) -> Float[Array, ""]:
    """R: the largest difference between two scores of one token, in score units."""
    return jnp.max(scores.max(axis=-1) - scores.min(axis=-1))


def window_count(scores: Float[Array, "T E"], width: Float[Array, ""]) -> Int[Array, ""]:
    """m(w): of how many tokens at most the differences s_ij - s_ik lie in a closed window of width w, over pairs j, k.

    One step of the sign rule, which moves a difference of biases by 2u at most, moves m(2u) tokens between two experts.
    """
    # Pairs j < k only: swapping them mirrors the differences.
    tokens, num_experts = scores.shape
    first, second = np.triu_indices(num_experts, 1)

    def of_pair(pair):
        ordered = jnp.sort(scores[:, pair[0]] - scores[:, pair[1]])
        return jnp.max(jnp.searchsorted(ordered, ordered + width, side="right") - jnp.arange(tokens))

    counts = jax.lax.map(of_pair, jnp.stack([jnp.asarray(first), jnp.asarray(second)], axis=1), batch_size=64)
    return counts.max().astype(jnp.int32)


def sign_spread(range_: Float[Array, ""], step_size: Float[Array, ""]) -> Float[Array, ""]:
    """max p - min p <= R + 2u always, for the sign rule with steps of u at most from a constant bias.

    Where p_j - p_k > R every token with k also takes j, so that A_j >= A_k and the difference cannot grow.
    """
    return range_ + 2 * step_size


def proportional_spread(range_: Float[Array, ""], step_size: Float[Array, ""]) -> Float[Array, ""]:
    """max p - min p <= R + eps always, for "prop" with steps of eps at most from a constant bias."""
    return range_ + step_size


def settling_time(range_: Float[Array, ""], step_size: Float[Array, ""], num_experts: int) -> Int[Array, ""]:
    """N0 = floor((E - 1)(R + 2u) / (2u)) + 1: from here on `settled_load_deviation` holds, for the sign rule at u."""
    return jnp.floor((num_experts - 1) * (range_ + 2 * step_size) / (2 * step_size)).astype(jnp.int32) + 1


def settled_load_deviation(scores: Float[Array, "T E"], top_k: int, step_size: Float[Array, ""]) -> Float[Array, ""]:
    """|A_k - L| <= m(2u)(E - 1) - 1 for all n >= N0 where L is an integer, and < m(2u)(E - 1) elsewhere, in tokens.

    For the sign rule with constant u from a constant bias. With m = 1 (u below half the smallest gap between two
    tokens' differences) this is MaxVio <= (E - 1) / L. An expert overloaded for W steps in a row has lost 2uW / (E - 1)
    against the mean of the others, which the spread allows N0 - 1 times at most; one step moves m tokens at most across
    each pair, towards the underloaded of the two.

    Returns: the bound for integer L; m(2u)(E - 1), to be taken strictly, otherwise.
    """
    tokens, num_experts = scores.shape
    whole = top_k * tokens % num_experts == 0
    return window_count(scores, 2 * step_size) * (num_experts - 1) - int(whole)


def quality_loss_bounds(load: Int[Array, "*n E"], bias: Float[Array, "*n E"]) -> tuple[Array, Array]:
    """OPT - V(p) <= p (A - L) <= spread(p) |A - L|_1 / 2: both bounds. Equal loads lose nothing."""
    deviation = jnp.abs(load_error(load, bias.dtype)).sum(axis=-1)
    spread = bias.max(axis=-1) - bias.min(axis=-1)
    return _excess_times(load, bias), 0.5 * spread * deviation


def dual_gap_bound(load: Int[Array, "*n E"], bias: Float[Array, "*n E"], minimiser: Float[Array, "*n E"]) -> Array:
    """0 <= D(p) - OPT <= (p - p*)(A(p) - L) for any minimiser p* of D."""
    return _excess_times(load, bias - minimiser)


def dual_convergence(
    distance: Float[Array, ""], step_sizes: Float[Array, " N"], deviations: Float[Array, " N"]
) -> Float[Array, " N"]:
    """min over the first n biases of D - OPT <= (|p_0 - p*|^2 + sum e^2 |A - L|^2) / (2 sum e), n = 1, ..., N.

    For "prop_raw" with steps e_n (eps_n / T of "prop"). The sign rule has no such bound for E >= 3: it may cycle.

    Args:
      distance: |p_0 - p*|, Euclidean.
      deviations: |A_n - L|^2 before each update, or `largest_load_variance` of every step.
    """
    return (distance**2 + jnp.cumsum(step_sizes**2 * deviations)) / (2 * jnp.cumsum(step_sizes))


def largest_load_variance(tokens: int, num_experts: int, top_k: int) -> float:
    """|A - L|^2 <= T^2 K (1 - K / E), attained where all tokens take the same experts."""
    return tokens**2 * gradient_bound(num_experts, top_k)


def has_integral_optimum(tokens: int, num_experts: int, top_k: int) -> bool:
    """Whether min D is the optimum of an assignment of whole tokens: E divides K T.

    Otherwise min D is that of the program with loads of exactly L, in fractions; with loads bounded by floor(L) and
    ceil(L) there is an integral optimum, which is at least as large.
    """
    return top_k * tokens % num_experts == 0


def reachable_spread(rule: Rule, num_updates: int) -> Float[Array, ""]:
    """2 sum_{n <= N} u_n: no larger spread of the bias can be reached by N updates of the sign rule, from zero."""
    return 2 * jnp.sum(rule.step_size_at(1 + jnp.arange(num_updates)))


def travel_updates(spread: float, step_size: float, schedule: str) -> float:
    """Updates of the sign rule that a spread of the bias takes at least, to leading order; exact for "const".

    Delta / (2u) for "const", exp(Delta / (2u) - 1) for "inv", (Delta / (4u))^2 for "inv_sqrt": sums of u_n bounded by
    u n, u (1 + ln n) and 2 u sqrt(n). This is the left wall of every plot over u.

    Raises: ValueError for another schedule.
    """
    if schedule == "const":
        return spread / (2 * step_size)
    if schedule == "inv":
        return float(np.exp(spread / (2 * step_size) - 1))
    if schedule == "inv_sqrt":
        return (spread / (4 * step_size)) ** 2
    raise ValueError(f"schedule must be one of 'const', 'inv', 'inv_sqrt', got {schedule!r}.")
