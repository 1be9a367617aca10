"""Tables of regret and loss per group: what was published beside what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.lib.tables import Measured, measured
from experiments.regret import panels_numbers as numbers
from paper_figures import claims as claims_lib

__all__ = ["REGRET_HEADER", "loss_rows", "published", "regret_claims", "regret_rows"]

REGRET_HEADER = (
    "group", "rounds", "hindsight", "online ridge, paper", "online ridge, ours", "ANH, paper", "ANH, ours",
    "ANH, mean, clipped", "specialist AA",
)  # fmt: skip
OURS = ("baseline", "anh", "anh_mean", "aa")
#: Positions in `REGRET_HEADER` of the columns that compete.
COMPARE = (4, 6, 7, 8)


def published(name: str) -> dict[str, float]:
    """The numbers of `expected/<name>.json` by id."""
    path = Path(__file__).parent / "expected" / f"{name}.json"
    return {claim.id: claim.published for claim in claims_lib.read(path)}


def regret_claims(run, prefix: str = "") -> dict[str, Measured]:
    """Regret as in the published tables, of the paper's two methods: ids `<prefix><method>/<group>`."""
    return {
        f"{prefix}{method}/{group}": measured(numbers.paper_regret(run, method)[:, g])
        for method in ("baseline", "anh")
        for g, group in enumerate(run.axes["group"])
    }


def regret_rows(run, known: Mapping[str, float], prefix: str = "", labels: Sequence[str] = ()) -> list[tuple]:
    """A row per group under `labels` and `REGRET_HEADER`; `known` holds the published numbers by the ids above."""
    best = numbers.paper_hindsight(run)
    ours = {method: numbers.paper_regret(run, method) for method in OURS}
    rows = []
    for g, group in enumerate(run.axes["group"]):
        cells = {method: measured(ours[method][:, g]) for method in OURS}
        rows.append((
            *labels, group, round(run.curves["rounds"][-1, :, g].mean()), measured(best[:, g]),
            known[f"{prefix}baseline/{group}"], cells["baseline"], known[f"{prefix}anh/{group}"], cells["anh"],
            cells["anh_mean"], cells["aa"],
        ))  # fmt: skip
    return rows


def loss_rows(run) -> list[tuple]:
    """A row per group: rounds, loss in hindsight, loss of every method of the run."""
    best = run.results["hindsight"][-1]
    return [
        (
            group, round(run.curves["rounds"][-1, :, g].mean()), measured(best[:, g]),
            *(measured(numbers.final_loss(run, method)[:, g]) for method in run.axes["method"]),
        )
        for g, group in enumerate(run.axes["group"])
    ]  # fmt: skip
