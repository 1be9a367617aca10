"""Exact answers in float64 on the host: least squares in hindsight, regret curves, and the learner one round at a time.

Everything here is NumPy, for tests, figures and benchmarks; nothing is meant for `jit`. One-hot designs are rank
deficient, so "least squares" is the minimum-norm solution: singular values below `max(rows, columns) eps sigma_max` are
taken as zero.
"""

import math
from typing import NamedTuple

import numpy as np

from research.core import validate
from research.core.types import Bool, Float, Int

__all__ = [
    "Curve", "Trajectory", "curve_positions", "group_learner", "hindsight", "hindsight_groups", "hindsight_prefixes",
    "hindsight_without", "least_squares", "regret_curve", "ridge_optimum",
]  # fmt: skip

_EPS = np.finfo(np.float64).eps


def least_squares(
    features: Float[np.ndarray, "n d"], labels: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " d"], float]:
    """The minimum-norm `u` that minimises `sum (u'x - y)^2`, and that sum; zero rows give zero and zero."""
    x, y = np.asarray(features, np.float64), np.asarray(labels, np.float64)
    left, sigma, right = np.linalg.svd(x, full_matrices=False)
    keep = sigma > max(x.shape) * _EPS * sigma.max(initial=0.0)
    solution = right[keep].T @ ((left[:, keep].T @ y) / sigma[keep])
    return solution, float(np.sum((y - x @ solution) ** 2))


def hindsight(features: np.ndarray, labels: np.ndarray, mask: np.ndarray | None = None) -> float:
    """`min_u sum (u'x - y)^2` over the rows in the mask, all if None.

    The rounding of a rank-deficient problem shows: a looser cut-off of small singular values moves the paper's `young`
    group of the medical data by 0.003.
    """
    rows = slice(None) if mask is None else np.asarray(mask) > 0
    return least_squares(np.asarray(features)[rows], np.asarray(labels)[rows])[1]


def hindsight_without(
    features: Float[np.ndarray, "n d"], labels: Float[np.ndarray, " n"], rows: Int[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """`hindsight` of all rows but one, for each of the given rows: one decomposition for all of them.

    With residual `e` and leverage `h` of the row in the full fit it is `RSS - e^2 / (1 - h)`. A row with `h = 1` is the
    only one in some direction, hence fitted exactly (`e = 0`), and leaving it out changes nothing.
    """
    x, y = np.asarray(features, np.float64), np.asarray(labels, np.float64)
    left, sigma, _ = np.linalg.svd(x, full_matrices=False)
    left = left[:, sigma > max(x.shape) * _EPS * sigma.max(initial=0.0)]
    residual = y - left @ (left.T @ y)
    free = 1 - np.sum(left[rows] ** 2, axis=1)
    alone = free < max(x.shape) * _EPS
    removed = np.where(alone, 0.0, residual[rows] ** 2 / np.where(alone, 1.0, free))
    return residual @ residual - removed


def hindsight_groups(features: np.ndarray, labels: np.ndarray, awake: np.ndarray) -> Float[np.ndarray, " G"]:
    """`hindsight` of every column of `awake [n, G]`."""
    return np.array([hindsight(features, labels, mask) for mask in np.asarray(awake).T])


def ridge_optimum(features: np.ndarray, labels: np.ndarray, mask: np.ndarray | None, regularization: float) -> float:
    """`M_g(lambda) = min_u lambda |u|^2 + sum (u'x - y)^2` over the rows in the mask, all if None."""
    validate.positive("regularization", regularization)
    rows = slice(None) if mask is None else np.asarray(mask) > 0
    x, y = np.asarray(features, np.float64)[rows], np.asarray(labels, np.float64)[rows]
    stacked = np.concatenate([x, math.sqrt(regularization) * np.eye(x.shape[1])])
    return least_squares(stacked, np.concatenate([y, np.zeros(x.shape[1])]))[1]


def hindsight_prefixes(
    features: Float[np.ndarray, "n d"], labels: Float[np.ndarray, " n"], lengths: Int[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """`hindsight` of the first `lengths[i]` rows, for nondecreasing lengths in [0, n].

    One pass: the triangular factor of the rows so far, with the labels as its last column, absorbs the rows up to the
    next length by a QR decomposition; `n d^2` work instead of `n k d^2`. The minimum is read from the factor by SVD,
    whose cut-off is that of the prefix.
    """
    lengths = np.asarray(lengths)
    rows = np.concatenate([features, np.asarray(labels)[:, None]], axis=1).astype(np.float64)
    validate.require(bool(np.all(np.diff(lengths) >= 0)), "lengths", "not decrease", lengths)
    validate.in_range("lengths", lengths, 0, len(rows))
    dim = rows.shape[1] - 1
    factor, start, values = np.zeros((0, dim + 1)), 0, []
    for end in lengths:
        if end > start:
            factor, start = np.linalg.qr(np.concatenate([factor, rows[start:end]]), mode="r"), end
        _, sigma, right = np.linalg.svd(factor[:, :dim], full_matrices=False)
        keep = sigma > max(end, dim) * _EPS * sigma.max(initial=0.0)
        directions = factor[:, :dim] @ right[keep].T / sigma[keep]
        residual = factor[:, dim] - directions @ (directions.T @ factor[:, dim])
        values.append(float(residual @ residual))
    return np.array(values)


def curve_positions(num_rounds: int, max_points: int = 100) -> Int[np.ndarray, " k"]:
    """Positions, 0-based within a group's own rounds, at which the paper draws a curve: at most `max_points`."""
    points = min(max_points, num_rounds)
    return np.linspace(num_rounds // points, num_rounds - 1, points).astype(int) if points else np.zeros(0, int)


class Curve(NamedTuple):
    rounds: Int[np.ndarray, " k"]  # of the group, done: positions + 1
    loss: Float[np.ndarray, " k"]  # cumulative, of the learner
    hindsight: Float[np.ndarray, " k"]
    regret: Float[np.ndarray, " k"]  # loss - hindsight; may be negative


def regret_curve(
    features: Float[np.ndarray, "T d"],
    labels: Float[np.ndarray, " T"],
    mask: np.ndarray,
    loss: Float[np.ndarray, " T"],
    *,
    positions: Int[np.ndarray, " k"] | None = None,
    paper_offset: bool = False,
) -> Curve:
    """Regret of one group as its rounds go by, against the best linear predictor of the same rounds.

    Args:
      features, labels, mask, loss: by round, in the order they were shown; the mask says which rounds are the group's.
      positions: 0-based, within the group's rounds, nondecreasing; `curve_positions` if None.
      paper_offset: compare position p, whose loss is that of p + 1 rounds, with hindsight on the first p rounds. The
        published tables are made so. Default: hindsight on the same p + 1 rounds.
    """
    chosen = np.asarray(mask) > 0
    cumulative = np.cumsum(np.asarray(loss, np.float64)[chosen])
    positions = curve_positions(len(cumulative)) if positions is None else np.asarray(positions)
    rounds = positions + 1
    lengths = positions if paper_offset else rounds
    best = hindsight_prefixes(np.asarray(features)[chosen], np.asarray(labels)[chosen], lengths)
    return Curve(rounds, cumulative[positions], best, cumulative[positions] - best)


class Trajectory(NamedTuple):
    """What `group_learner` did, by round."""

    loss: Float[np.ndarray, " T"]
    prediction: Float[np.ndarray, " T"]
    expert_loss: Float[np.ndarray, "T G"]  # 0 on sleepers
    probabilities: Float[np.ndarray, "T G"]
    regret: Float[np.ndarray, " G"]  # R and C of AdaNormalHedge after the last round
    cumulative: Float[np.ndarray, " G"]


def group_learner(
    features: Float[np.ndarray, "T d"],
    labels: Float[np.ndarray, " T"],
    awake: Bool[np.ndarray, "T G"],
    *,
    regularization: float = 1.0,
    forecaster: str = "ridge",
    combine: str = "expected",
    clip: tuple[float, float] | None = None,
    prior: Float[np.ndarray, " G"] | None = None,
) -> Trajectory:
    """The paper's learner in its plainest form: a Python loop over rounds and over the groups awake in them.

    Each expert keeps `P` by Sherman-Morrison and its moment vector `b`, and predicts with `theta = P b`; the
    aggregator's weights are differences of exponentials, not their logarithms. The authors' program is organised so,
    which makes it the peer of the benchmark; in float64 and for small losses it is also an independent oracle.
    Source: `acharya:24`, Algorithm 1; `luo:15` for the weights.
    """
    x, y = np.asarray(features, np.float64), np.asarray(labels, np.float64)
    members = [np.flatnonzero(row) for row in np.asarray(awake) > 0]
    (num_rounds, dim), num_groups = x.shape, np.shape(awake)[1]
    prior = np.full(num_groups, 1 / num_groups) if prior is None else np.asarray(prior, np.float64)
    inverse = [np.eye(dim) / regularization for _ in range(num_groups)]
    moment = [np.zeros(dim) for _ in range(num_groups)]
    regret, cumulative = np.zeros(num_groups), np.zeros(num_groups)
    loss, prediction = np.zeros(num_rounds), np.zeros(num_rounds)
    expert_loss, probabilities = np.zeros((num_rounds, num_groups)), np.zeros((num_rounds, num_groups))
    for t, groups in enumerate(members):
        forecasts, weights = np.zeros(num_groups), np.zeros(num_groups)
        for g in groups:
            forecasts[g] = x[t] @ (inverse[g] @ moment[g])
            if forecaster == "vaw":
                forecasts[g] /= 1 + x[t] @ inverse[g] @ x[t]
            scale = 3 * (cumulative[g] + 1)
            up, down = max(regret[g] + 1, 0.0), max(regret[g] - 1, 0.0)
            weights[g] = prior[g] * (math.exp(up * up / scale) - math.exp(down * down / scale)) / 2
        if clip is not None:
            forecasts = np.clip(forecasts, *clip)
        if not weights.any():
            weights[groups] = prior[groups]
        p = weights / weights.sum() if len(groups) else prior
        losses = (forecasts - y[t]) ** 2
        prediction[t], probabilities[t] = p @ forecasts, p
        loss[t] = (prediction[t] - y[t]) ** 2 if combine == "mean" else p @ losses
        for g in groups:
            expert_loss[t, g] = losses[g]
            regret[g] += loss[t] - losses[g]
            cumulative[g] += abs(loss[t] - losses[g])
            gain = inverse[g] @ x[t]
            inverse[g] -= np.outer(gain, gain) / (1 + x[t] @ gain)
            moment[g] += y[t] * x[t]
    return Trajectory(loss, prediction, expert_loss, probabilities, regret, cumulative)
