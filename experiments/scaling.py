"""How experiments would scale to 4,096 chips that are not there: one pod config of each family, on paper.

    python -m experiments.scaling                        # the stored estimates
    python -m experiments.scaling --write                # compiles what changed, and stores it: hours
    python -m experiments.scaling --write --only=regret  # one family

Formulas and assumptions: `experiments.lib.step_time`, `experiments.lib.scaling`, experiments/SCALING.md. What is stored
(experiments/scaling.json) is what the compiler counts; times follow from it. Figure: paper_figures, pods/fig_scaling.
Exit codes: 0; 1 the compiler is missing or a file cannot be written; 2 usage.
"""

import sys
from collections.abc import Sequence

from absl import flags

from experiments.lib import backend, pods
from experiments.lib.command import helped, parse, told
from experiments.lib.errors import RunError, Stop, UsageError

__all__ = ["REPRESENTATIVES", "main"]

#: One pod config of each family: what it costs most to run, of those that the compiler finishes.
REPRESENTATIVES = (
    "balancing/lm_schedules", "halpern/sharding", "matching/lp", "mlmc/applications", "pooling/imagenet",
    "regret/medical",
)  # fmt: skip


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string("only", "", "Families, separated by commas.", flag_values=values)
    flags.DEFINE_list("chips", [], "With --write: these numbers of chips alone.", flag_values=values)
    flags.DEFINE_enum("mode", "", ["", "weak", "strong"], "With --write: this one alone.", flag_values=values)
    flags.DEFINE_boolean("write", False, "Compile, and store what is found.", flag_values=values)
    flags.DEFINE_float("limit_seconds", 600.0, "What takes the compiler longer is given up.", lower_bound=1.0,
                       flag_values=values)  # fmt: skip
    flags.DEFINE_integer("jobs", 1, "Compilations at a time.", lower_bound=1, flag_values=values)
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line says; returns the exit code."""
    values = _flags()
    arguments = sys.argv[1:] if arguments is None else arguments
    if helped(arguments, __doc__, values):
        return 0
    try:
        if overrides := parse(values, arguments):
            raise UsageError(f"--config.{next(iter(overrides))} needs a command that runs one config.")
        known = [pod for pod in pods.pods() if pod.name in REPRESENTATIVES]
        chosen = pods.selected(known, filter(None, values.only.replace(" ", "").split(",")))
        backend.prepare_environment()
        if values.write:
            _compile(chosen, values)
        _show(chosen)
    except Stop as stop:
        return told(stop)
    return 0


def _compile(chosen, values) -> None:
    from experiments.lib import aot_jobs, scaling, scaling_page
    from pallas_kernels._lab import LabError, process

    if unknown := [word for word in values.chips if word not in map(str, scaling.TARGETS)]:
        raise UsageError(f"--chips are among {', '.join(map(str, scaling.TARGETS))}, got {unknown[0]!r}.")
    wanted = [int(word) for word in values.chips] or scaling.TARGETS
    try:
        page = scaling_page.stored(process.compiler())
    except LabError as error:
        raise RunError(str(error)) from error
    for pod in chosen:
        every = scaling.jobs(pod, limit=values.limit_seconds)
        planned = [one for one in every if values.mode in ("", one[0]) and one[1] in wanted]
        metric_bytes = scaling.metric_bytes(pod)
        answers = aot_jobs.run([job for _, _, job in planned], values.jobs)
        for (mode, chips, _), answer in zip(planned, answers, strict=True):
            point = scaling.point(pod, mode, chips, answer, metric_bytes)
            page = page.updated(point)
            page.save()
            print(f"{pod.name}, {mode}, {chips} chips: {point.why_not or 'compiled'}", file=sys.stderr, flush=True)


def _show(chosen) -> None:
    from experiments.lib import aot_output, scaling_page

    names = {pod.name for pod in chosen}
    page = scaling_page.read()
    aot_output.console().print(scaling_page.terminal([point for point in page.points if point.config in names]))


if __name__ == "__main__":
    sys.exit(main())
