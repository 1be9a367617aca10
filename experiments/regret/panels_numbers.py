"""What figures and tables read from a run of the comparison: regret, bound, and how close the two come.

`R` replicates, `G` groups, `K` points at which the loss in hindsight is known, `P` points at which anything was logged.
"""

from typing import NamedTuple

import numpy as np

from experiments.lib.tables import Measured, without_interval

__all__ = [
    "Parts", "at_hindsight", "bound_claims", "bounds", "covered_methods", "expert_ratio", "final_loss",
    "measured_parts", "meta_ratio", "one_number", "paper_hindsight", "paper_regret", "regret", "total_ratio",
]  # fmt: skip


class Parts(NamedTuple):
    """A regret, or a bound on it, `[K, R, G]`: total = expert + meta."""

    expert: np.ndarray
    meta: np.ndarray

    @property
    def total(self) -> np.ndarray:
        return self.expert + self.meta


def covered_methods(run) -> list[str]:
    """The run's methods that the theorems speak of."""
    return [name for name in run.axes["method"] if f"meta_bound/{name}" in run.curves]


def at_hindsight(run, name: str) -> np.ndarray:
    """A metric at the points at which the loss in hindsight is known, `[K, R, G]` float64."""
    places = np.searchsorted(run.curves["step"], run.results["hindsight_step"])
    return run.curves[name][places].astype(np.float64)


def regret(run, method: str) -> np.ndarray:
    """Loss minus the loss of the best linear predictor of the same rounds, `[K, R, G]`; may be negative."""
    return at_hindsight(run, f"loss/{method}") - run.results["hindsight"]


def measured_parts(run, method: str) -> Parts:
    """Regret of the group's own clipped expert, and of the method against that expert."""
    expert = at_hindsight(run, "expert_clip")
    return Parts(expert - run.results["hindsight"], at_hindsight(run, f"loss/{method}") - expert)


def bounds(run, method: str) -> Parts:
    """What `measured_parts` cannot exceed: M_g - hindsight + ln det, and T1 or T4."""
    expert = at_hindsight(run, "ridge_value") + at_hindsight(run, "logdet") - run.results["hindsight"]
    return Parts(expert, at_hindsight(run, f"meta_bound/{method}"))


def expert_ratio(run) -> float:
    """Largest measured / bound of the expert part, over points, replicates and groups that have had a round."""
    method = covered_methods(run)[0]
    return _largest(run, measured_parts(run, method).expert, bounds(run, method).expert)


def meta_ratio(run, method: str) -> float:
    """Largest measured / bound of the meta part."""
    return _largest(run, measured_parts(run, method).meta, bounds(run, method).meta)


def total_ratio(run, method: str) -> float:
    """Largest measured / bound of the whole regret."""
    return _largest(run, measured_parts(run, method).total, bounds(run, method).total)


def _largest(run, found: np.ndarray, bound: np.ndarray) -> float:
    seen = at_hindsight(run, "rounds") > 0
    found, bound = found[seen], bound[seen]
    # A group that has only ever been served by its own expert has regret 0 and bound 0 against it.
    nothing = np.where(found > 0, np.inf, 0.0)
    return float(np.max(np.divide(found, bound, out=nothing, where=bound > 0)))


def final_loss(run, method: str) -> np.ndarray:
    """Loss over all rounds of each group, `[R, G]`."""
    return run.curves[f"loss/{method}"][-1].astype(np.float64)


def paper_hindsight(run) -> np.ndarray:
    """Loss in hindsight over all rounds of each group but its last, `[R, G]`: what the published tables subtract."""
    return run.results["hindsight_paper"]


def paper_regret(run, method: str) -> np.ndarray:
    """Regret as in the published tables, `[R, G]`."""
    return final_loss(run, method) - paper_hindsight(run)


def one_number(value: float, num_replicates: int) -> Measured:
    """A number without an interval, such as a maximum over replicates."""
    return without_interval(value, num_replicates)


def bound_claims(runs) -> dict[str, Measured]:
    """Largest measured / bound over the runs, of the experts and of every covered method: at most 1 by the theorems."""
    count = sum(run.config.run.replicates for run in runs)
    claims = {"expert": one_number(max(expert_ratio(run) for run in runs), count)}
    for method in covered_methods(runs[0]):
        claims[f"meta/{method}"] = one_number(max(meta_ratio(run, method) for run in runs), count)
        claims[f"total/{method}"] = one_number(max(total_ratio(run, method) for run in runs), count)
    return claims
