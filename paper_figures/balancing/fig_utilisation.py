"""Which experts take which domain, with and without balancing."""

from experiments.balancing import panels_lm_schedules as panels
from experiments.lib import style

CONFIGS = ["configs/balancing/lm_schedules.py"]
PAPER_CONFIGS = ["configs/balancing/paper_lm_schedules.py"]

ROWS = ("none", "sign const 0.01")

caption = (
    "Loads of experts on the validation text of each domain, as multiples of the balanced load, by layer; the first "
    "seed. Within a layer experts are ordered by their load on code. Balance holds over all text: a domain may still "
    "have experts of its own."
)


def draw(runs):
    (run,) = runs
    domains = run.meta["axes"]["domain"]
    fig, axes = style.figure("text", 0.42, len(ROWS), len(domains), sharex=True, sharey=True)
    for of_row, row in zip(axes, ROWS, strict=True):
        for ax, domain in zip(of_row, domains, strict=True):
            image = panels.utilisation_panel(ax, run, row, domain)
        of_row[0].set_ylabel("layer")
    for ax in axes[-1]:
        ax.set_xlabel("expert, by load on code")
    fig.colorbar(image, ax=axes, label="load / balanced load", extend="max")
    return fig
