"""Weak and strong scaling on paper: one pod config of each family on 1, 16, 256, 512 and 4,096 chips of v5e.

Every point is compiled for its number of chips, and its step time is `step_time` of what the compiler counts, plus what
the driver waits for: the metrics of a chunk, which one host fetches.

    weak     what `GROWS` names is in proportion to the chips: each has as much to do.  efficiency(P) = T(1) / T(P)
    strong   the config as it is, what 256 chips are meant for, split further.  efficiency(P) = p T(p) / (P T(P))

p is the least number of chips that it was compiled for and fits on. Replicates are not split: a chip has ceil(R / P) of
them, and chips without one idle. What was not compiled follows from what was, by the rules of `curve`.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from experiments.lib import backend
from experiments.lib import config as config_lib
from experiments.lib import mesh as mesh_lib
from experiments.lib import step_time as step_time_lib
from experiments.lib.aot_jobs import Answer, ProgramJob, parse_target
from experiments.lib.pods import CHIPS, Pod
from experiments.lib.step_time import BETWEEN_SLICES, StepTime, Work
from pallas_kernels._lab.report import Collective

__all__ = [
    "HOST_BANDWIDTH", "MODES", "TARGETS", "Estimate", "Point", "curve", "efficiencies", "jobs", "metric_bytes", "point",
    "stop",
]  # fmt: skip

#: Number of chips -> what is compiled for.
TARGETS = {
    1: ("v5e", 1), 16: ("v5e:4x4", 1), 256: ("v5e:16x16", 1), 512: ("v5e:16x16", 2), 4096: ("v5e:16x16", 16),
}  # fmt: skip
MODES = ("weak", "strong")
#: Bytes per second into the host that writes the run directory: two cards of 100 Gbit/s (the vendor's v5e page).
HOST_BANDWIDTH = 25e9


class Point(NamedTuple):
    """One config, compiled for one number of chips.

    Attributes:
      config: name of the pod config.
      mode: "weak" or "strong".
      why_not: None, or why there is no work.
      work: of one chip in a step.
      metric_bytes: that the host fetches per step.
      model: length of the mesh's axis of that name.
    """

    config: str
    mode: str
    chips: int
    why_not: str | None
    work: Work | None
    metric_bytes: float
    model: int = 1

    @property
    def given_up(self) -> bool:
        """Whether the compiler took too long, which says nothing about the program."""
        return self.why_not is not None and "did not finish within" in self.why_not

    @property
    def does_not_fit(self) -> bool:
        return self.why_not is not None and not self.given_up

    def plain(self) -> dict[str, Any]:
        """As JSON holds it; collectives of one kind and group together."""
        work = None
        if self.work is not None:
            work = self.work._asdict() | {"collectives": [list(c) for c in _together(self.work.collectives)]}
        return self._asdict() | {"work": work}

    @classmethod
    def of(cls, plain: dict[str, Any]) -> Point:
        """From JSON."""
        work = plain["work"]
        if work is not None:
            work = Work(**work | {"collectives": tuple(Collective(*each) for each in work["collectives"])})
        return cls(**plain | {"work": work})


class Estimate(NamedTuple):
    """A point of a curve.

    Attributes:
      time: of a step.
      host: seconds a step that the driver waits for metrics.
      compiled: whether for this number of chips.
    """

    chips: int
    time: StepTime
    host: float
    compiled: bool

    @property
    def seconds(self) -> float:
        return self.time.seconds + self.host

    @property
    def bound(self) -> str:
        """A field of `StepTime`, or "host"."""
        most = self.time.bound
        return "host" if self.host > getattr(self.time, most) else most


def jobs(pod: Pod, **options) -> Iterator[tuple[str, int, ProgramJob]]:
    """(mode, chips, job) of every point."""
    sizes = mesh_lib.parse(pod.mesh)
    for mode in MODES:
        for chips, target in TARGETS.items():
            mesh = {axis: min(size, chips) for axis, size in sizes.items()}
            overrides = pod.on(chips) if mode == "weak" else _split(pod, chips)
            yield mode, chips, ProgramJob(pod.reference, overrides, target, mesh, simulate=False, **options)


def _split(pod: Pod, chips: int) -> dict[str, Any]:
    """Overrides that leave the work as it is; replicates are rounded up to what is the same for every chip."""
    replicates = config_lib.resolve(pod.reference).config.run.replicates
    if pod.grows != ("run.replicates",) or replicates % chips == 0:
        return {}
    return {"run.replicates": math.ceil(replicates / chips) * chips}


def metric_bytes(pod: Pod) -> float:
    """Of all replicates, per step, as the config stands; traces its program."""
    import jax

    config = config_lib.resolve(pod.reference).config
    backend.configure(config.numerics, compile_cache="off")
    mesh = mesh_lib.abstract(mesh_lib.parse(pod.mesh), CHIPS, "a pod")
    program = importlib.import_module(f"experiments.{config.experiment}").program(config, mesh)
    _, metrics = jax.eval_shape(program.advance, *program.abstract_args)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(metrics)) / config.run.chunk


def point(pod: Pod, mode: str, chips: int, answer: Answer, metric_bytes: float) -> Point:
    """What a compilation says; `metric_bytes` per step as the config stands."""
    config = config_lib.resolve(pod.reference, answer.job.overrides).config
    replicates = config_lib.resolve(pod.reference).config.run.replicates
    grown = config.run.replicates / replicates if mode == "weak" else 1.0
    rest = metric_bytes * grown, answer.job.mesh.get("model", 1)
    if answer.problem:
        return Point(pod.name, mode, chips, answer.problem, None, *rest)
    work = step_time_lib.work(answer.report, parse_target(*answer.job.target).chip, config.run.chunk)
    return Point(pod.name, mode, chips, None, work, *rest)


def _together(collectives: Sequence[Collective]) -> list[Collective]:
    """Those alike in everything but their calls are one; between slices all of one kind are, with the most calls of
    any: `step_time` is the same."""
    found: dict[tuple, Collective] = {}
    for one in collectives:
        far = one.algorithm == BETWEEN_SLICES
        key = one.kind, one.group, one.algorithm, None if far else one.bytes
        before = found.get(key, one._replace(name="", calls=0.0))
        calls = max(before.calls, one.calls) if far else before.calls + one.calls
        num_bytes = (before.calls * before.bytes + one.calls * one.bytes) / calls if far else one.bytes
        found[key] = before._replace(calls=calls, bytes=num_bytes)
    return list(found.values())


def curve(points: Sequence[Point], mode: str) -> list[Estimate]:
    """Estimates by the number of chips, of one config and mode; where it fits, and something is known, only.

    A number that is not compiled follows, in a strong curve, from the next smaller one if that is because more chips
    have nothing to do: the time is the same. In a weak one a chip does the same on any number, and what it sends
    follows from the nearest compiled number by `_elsewhere`.
    """
    given = {one.chips: one for one in points if one.mode == mode}
    compiled = {chips: one for chips, one in given.items() if one.work is not None}
    found: list[Estimate] = []
    for chips in TARGETS:
        if chips in compiled:
            found.append(_estimate(compiled[chips].work, chips, compiled[chips].metric_bytes, compiled=True))
        elif mode == "strong" and found and chips in given and not given[chips].given_up:
            found.append(found[-1]._replace(chips=chips, compiled=False))
        elif mode == "weak" and compiled and not (chips in given and given[chips].does_not_fit):
            near = min(compiled.values(), key=lambda one: abs(math.log(one.chips / chips)))
            if (work := _elsewhere(near, chips)) is not None:
                found.append(_estimate(work, chips, near.metric_bytes * chips / near.chips, compiled=False))
    return found


def _estimate(work: Work, chips: int, metric_bytes: float, *, compiled: bool) -> Estimate:
    time = step_time_lib.step_time(work, parse_target(*TARGETS[chips]))
    return Estimate(chips, time, metric_bytes / HOST_BANDWIDTH, compiled)


def _elsewhere(point: Point, chips: int) -> Work | None:
    """The work of a weak point on another number of chips; None where that needs collectives that nobody has seen.

    Alone a chip sends nothing. In a part of a slice groups shrink with it, but those along `model`, which stay. From
    two slices to more, those between slices are among all of them. From one slice to more a sum over its chips is
    followed by one between slices, of the part that each chip has summed: the least that there can be.
    """
    work, (_, slices), (_, wanted) = point.work, TARGETS[point.chips], TARGETS[chips]
    if chips == 1 or not work.collectives:
        return work._replace(collectives=())
    if slices > 1 and wanted > 1:
        group = {c: wanted if c.algorithm == BETWEEN_SLICES else c.group for c in work.collectives}
    elif slices == wanted == 1 and chips < point.chips:
        scale = chips / point.chips
        group = {c: c.group if c.group == point.model else math.ceil(c.group * scale) for c in work.collectives}
    elif slices == 1 < wanted:
        outer = [c for c in work.collectives if c.group != point.model]
        if any(c.kind != "all-reduce" for c in outer):
            return None
        far = (
            c._replace(bytes=c.bytes / (c.group or point.chips), group=wanted, algorithm=BETWEEN_SLICES) for c in outer
        )
        return work._replace(collectives=(*work.collectives, *far))
    else:
        return None
    return work._replace(collectives=tuple(c._replace(group=group[c]) for c in work.collectives))


def efficiencies(estimates: Sequence[Estimate], mode: str) -> list[float]:
    """Against the first of them, by the formula of the module."""
    first = estimates[0]
    ratios = [first.seconds / one.seconds for one in estimates]
    if mode == "weak":
        return ratios
    return [ratio * first.chips / one.chips for ratio, one in zip(ratios, estimates, strict=True)]


def stop(estimates: Sequence[Estimate], mode: str) -> Estimate | None:
    """The first that is less than half as efficient as the first of all; None if all are better."""
    pairs = zip(estimates, efficiencies(estimates, mode), strict=True)
    return next((one for one, efficiency in pairs if efficiency < 0.5), None)
