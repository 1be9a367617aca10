"""How long a step takes on chips that are not there, from what the compiler counts in its program: a model.

    step    = compute + communication                         nothing overlaps
    compute = max(schedule, matrix unit, HBM)
      schedule     cycles of all operations / clock, by the compiler's quick estimates or its simulation
      matrix unit  flops of matrix products, passes of their precision included / peak
      HBM          arguments and results, once / bandwidth
    communication = sum over collectives of calls x (factor x B / bandwidth + hops x latency)
      between slices, where they are asynchronous, of the latencies only the largest calls x hops x latency

What has no estimate, as Pallas kernels without a simulation, is charged the larger of its bytes in HBM and its flops on
the vector unit, and nothing if it runs beside the others.

B bytes are the result on one chip. A group of g chips of a slice is a ring, or spans a axes of the torus with m chips
each, m^a = g, and then has a share a / A of the links, A being all axes. Chips of s slices have their share of the
hosts' network.

    collective                 factor               hops       between slices: factor, hops
    all-gather                 (g - 1) / g          a m / 2    (s - 1) / s, 1
    reduce-scatter             g - 1                a m / 2    s - 1, 1
    all-reduce                 2 (g - 1) / g        a m        2 (s - 1) / s, 2
    all-to-all                 a m / 4              a m / 2    (s - 1) / s, 1
    collective-permute, else   2 A (a single link)  1          1, 1

Source: `austin:25`, sections 1 and 3, for rings in both directions; latencies are theirs for a hop between chips, and
assumed for the network.
"""

from __future__ import annotations

import itertools
import math
import operator
from typing import NamedTuple

from pallas_kernels._lab.chips import Chip, Target
from pallas_kernels._lab.report import Collective, Operation, Report

__all__ = [
    "BETWEEN_SLICES", "HOP_SECONDS", "SLICE_SECONDS", "StepTime", "Work", "collective_cost", "step_time", "work",
]  # fmt: skip

#: Of one hop between neighbours of a slice.
HOP_SECONDS = 1e-6
#: Of one exchange between hosts of different slices: assumed, nobody publishes it.
SLICE_SECONDS = 1e-4
#: What a report calls the algorithm of a collective that the hosts' network carries.
BETWEEN_SLICES = "between slices"


class Work(NamedTuple):
    """What one chip does in a step.

    Attributes:
      cycles: of all operations, communication apart.
      simulated: whether the cycles are of the compiler's simulation, or quick estimates.
      passes: flops of matrix products, each times the passes that its precision takes.
      bytes: of HBM.
      collectives: with the calls of one step.
    """

    cycles: float
    simulated: bool
    passes: float
    bytes: float
    collectives: tuple[Collective, ...]


class StepTime(NamedTuple):
    """Seconds of one step by what takes them; the first three overlap, the last two come on top."""

    schedule: float
    mxu: float
    hbm: float
    links: float = 0.0
    network: float = 0.0

    @property
    def compute(self) -> float:
        return max(self[:3])

    @property
    def communication(self) -> float:
        return self.links + self.network

    @property
    def seconds(self) -> float:
        return self.compute + self.communication

    @property
    def bound(self) -> str:
        """The field that takes most of the time."""
        return max(self._fields, key=lambda name: getattr(self, name))


def work(report: Report, chip: Chip, steps: int) -> Work:
    """The work of one of the `steps` of a compiled chunk."""
    cycles = report.cycles
    if cycles is None:
        cycles = sum(operation.calls * _cycles(operation, chip) for operation in report.operations)
    collectives = tuple(c._replace(calls=c.calls / steps) for c in report.collectives)
    simulated = report.cycles is not None
    return Work(cycles / steps, simulated, report.passes / steps, report.bytes / steps, collectives)


def _cycles(operation: Operation, chip: Chip) -> float:
    if operation.cycles is not None:
        return operation.cycles
    if operation.kind.endswith(("-start", "-done")):
        return 0.0
    return max(chip.cycles(operation.bytes), operation.flops / chip.vector_flops * chip.clock)


def step_time(work: Work, target: Target) -> StepTime:
    """The module's formula."""
    chip = target.chip
    costs = [(c.calls, c.algorithm == BETWEEN_SLICES, collective_cost(c, target)) for c in work.collectives]
    links = sum(calls * sum(cost) for calls, far, cost in costs if not far)
    network = sum(calls * transfer for calls, far, (transfer, _) in costs if far)
    network += max((calls * latency for calls, far, (_, latency) in costs if far), default=0.0)
    parts = work.cycles / chip.clock, work.passes / chip.flops, work.bytes / chip.bandwidth
    return StepTime(*parts, links, network)


def collective_cost(collective: Collective, target: Target) -> tuple[float, float]:
    """Seconds of transfer and of latency of one call; `group` 0 stands for all chips, or all slices."""
    if collective.algorithm == BETWEEN_SLICES:
        factor, hops = _between_slices(collective.kind, collective.group or target.slices)
        return factor * collective.bytes / target.chip.network, hops * SLICE_SECONDS
    factor, hops, bandwidth = _within_slice(collective, target)
    return factor * collective.bytes / bandwidth, hops * HOP_SECONDS


def _between_slices(kind: str, slices: int) -> tuple[float, float]:
    """Factor of the bytes, and exchanges one after the other."""
    passed = (slices - 1) / slices
    known = {
        "all-gather": (passed, 1), "reduce-scatter": (slices - 1, 1), "all-reduce": (2 * passed, 2),
        "all-to-all": (passed, 1),
    }  # fmt: skip
    return known.get(kind, (1.0, 1))


def _within_slice(collective: Collective, target: Target) -> tuple[float, float, float]:
    """Factor of the bytes, hops one after the other, and the bandwidth of the links that are used."""
    shape = target.shape or (1,)
    group = collective.group or math.prod(shape) * target.chip.cores
    spanned = _axes(group, shape)
    side = group ** (1 / spanned)
    passed, hops = (group - 1) / group, spanned * side / 2
    known = {
        "all-gather": (passed, hops), "reduce-scatter": (group - 1, hops), "all-reduce": (2 * passed, 2 * hops),
        "all-to-all": (spanned * side / 4, hops),
    }  # fmt: skip
    factor, hops = known.get(collective.kind, (2 * spanned, 1))
    return factor, hops, target.chip.links * spanned / len(target.chip.largest)


def _axes(group: int, shape: tuple[int, ...]) -> int:
    """How many axes of a slice a group must span, the longest first."""
    reached = list(itertools.accumulate(sorted(shape, reverse=True), operator.mul))
    return next((number for number, chips in enumerate(reached, 1) if chips >= group), len(shape))
