"""How many replicates of READ change a bit with tiles, blocks and devices."""

import numpy as np

from experiments.lib.tables import Table, without_interval

CONFIGS = ["configs/mlmc/invariance.py"]
PAPER_CONFIGS = ["configs/mlmc/paper_invariance.py"]

caption = (
    "Replicates of READ with the same ids, computed in other tiles and blocks and on other numbers of CPU devices, "
    "whose value differs in any bit from that of one block on one device."
)


def _layouts(run):
    """`[variant]`: differing ids, over all ranges."""
    return run.curves["differs"].sum(axis=1).astype(int)


def table(runs):
    (run,) = runs
    compared = int(run.results["compared"])
    rows = [(name, 1, compared, int(found)) for name, found in zip(run.axes["variant"], _layouts(run), strict=True)]
    rows += [
        (run.axes["variant"][0], int(count), compared, int(found))
        for count, found in zip(run.results["devices"], run.results["differing"], strict=True)
    ]
    return Table(("layout", "devices", "replicates", "differ"), tuple(rows), caption, digits=0)


def claims(runs):
    (run,) = runs
    worst = max(_layouts(run).max(), np.max(run.results["differing"], initial=0))
    return {"differ": without_interval(worst, int(run.results["compared"]))}
