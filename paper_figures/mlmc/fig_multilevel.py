"""Multilevel Monte Carlo with fixed levels: variances, means, samples per level, and cost, by class of link."""

from experiments.lib import style
from experiments.mlmc import panels_multilevel as panels

CONFIGS = ["configs/mlmc/multilevel.py"]
PAPER_CONFIGS = ["configs/mlmc/paper_multilevel.py"]

caption = (
    "Fixed levels at one nesting, on a smooth link (A3), a kink (A4) and a jump (A5). Top: variances and absolute "
    "means of the level differences, all runs together (dotted: of the levels themselves), with rates of decay by "
    "regression and 95 % intervals over groups of runs. Bottom left: samples per level for each tolerance. Bottom "
    "right: leaves times squared tolerance, mean over runs; dotted, plain nested Monte Carlo with the inner samples of "
    "the finest level; dashed, random levels (READ, one term) at their best r. The jump is only sampled: there the "
    "driver mistakes the noise of fine levels for bias too often."
)


def draw(runs):
    (run,) = runs
    fig, axes = style.figure("text", 0.8, 2, 2)
    panels.variance_panel(axes[0, 0], run)
    panels.mean_panel(axes[0, 1], run)
    panels.samples_panel(axes[1, 0], run, "A4")
    panels.cost_panel(axes[1, 1], run)
    return fig


def claims(runs):
    (run,) = runs
    setting, found = run.config.problem, {}
    for walk in setting.adaptive:
        found[f"error/{walk}"] = max(
            (panels.error(run, walk, eps) for eps in setting.tolerances), key=lambda x: x.value
        )
        found[f"bias/{walk}"] = panels.bias(run, walk, setting.tolerances[-1])
        for eps in (0.01, 0.005, 0.002):
            if eps in setting.tolerances:
                found[f"cost/{walk}/{eps:g}"] = panels.cost(run, walk, eps)
    return found | {f"variance/{walk}": panels.rate(run, walk, "variance") for walk in run.axes["walk"]}
