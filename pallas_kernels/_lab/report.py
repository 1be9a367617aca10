"""What the laboratory says about a compiled program: plain values that survive JSON.

Every number is per device. Cycle counts are the compiler's simulation of its own schedule: a model, not a measurement.
"""

import json
from typing import Any, Literal, NamedTuple

__all__ = ["Collective", "LabError", "Memory", "Method", "Operation", "Report", "Roofline", "from_json", "to_json"]

#: How cycles were found, best first. "simulated": the final schedule, as compiled. "simulated in HBM": the same with
#: every array kept in HBM between operations, because the simulator has no model of copies inside VMEM. "kernels
#: simulated": the simulator refuses the program; Pallas kernels were simulated alone, XLA's operations have the
#: compiler's quick estimate. "none": no cycles for this target.
Method = Literal["simulated", "simulated in HBM", "kernels simulated", "none"]


class LabError(ValueError):
    """What was asked for cannot be compiled or costed; the message is one line that names the argument."""


class Memory(NamedTuple):
    """HBM of one device, in bytes."""

    arguments: int
    outputs: int
    aliased: int  # outputs that reuse an argument's memory
    temporaries: int
    code: int
    available: int

    @property
    def total(self) -> int:
        return self.arguments + self.outputs - self.aliased + self.temporaries + self.code


class Operation(NamedTuple):
    """One instruction of the compiled program that takes time: a Pallas kernel, a fusion, a sort, a copy."""

    name: str
    kind: str  # "kernel" for Pallas, else XLA's opcode
    calls: float  # executions in one run of the program: loops multiplied by their trip counts
    cycles: float | None  # of one execution; None where nothing estimates it
    simulated: bool = False  # from the simulated schedule, else from the compiler's quick estimate
    flops: float = 0.0  # of one execution, as XLA or the kernel's own cost estimate counts
    bytes: float = 0.0  # of one execution, read and written in HBM
    vmem: int = 0  # bytes of VMEM that it holds while it runs
    bundles: int | None = None  # instruction words in its schedule
    spills: int | None = None  # registers stored because there were too few
    fills: int | None = None  # registers loaded again
    occupancy: dict[str, float] | None = None  # share of each unit's slots that the schedule fills


class Collective(NamedTuple):
    """Communication between devices."""

    name: str
    kind: str  # "all-reduce", "all-to-all", ...
    calls: float
    bytes: int  # of the result on one device, of one execution
    group: int  # devices that take part together
    algorithm: str = ""  # as the compiler names it


class Roofline(NamedTuple):
    """Seconds that each physical limit alone would take; the largest is the wall."""

    hbm: float  # arguments read and outputs written once
    mxu: float  # matrix products, passes of the precision included
    link: float  # collectives' bytes over the links between chips

    @property
    def wall(self) -> str:
        return max(self._fields, key=lambda name: getattr(self, name))

    @property
    def seconds(self) -> float:
        return max(self)


class Report(NamedTuple):
    """One program on one target."""

    target: str
    devices: int
    compiler: str  # name and version
    program: str  # hash of what was compiled
    why_not: str | None  # None if it compiles and fits, else the reason in one line
    memory: Memory | None  # None where the compiler stops before it knows
    missing: int  # bytes of HBM or VMEM by which it does not fit; 0 if it does
    operations: tuple[Operation, ...]
    collectives: tuple[Collective, ...]
    flops: float  # loops included
    passes: float  # flops of matrix products, each times the passes that its precision takes
    bytes: float  # arguments and outputs, HBM
    roofline: Roofline | None
    cycles: float | None  # all operations with their calls
    clock: float | None  # cycles per second
    method: Method
    caveats: tuple[str, ...]
    lower_seconds: float
    compile_seconds: float
    host_bytes: int  # peak memory of the compiling process

    @property
    def fits(self) -> bool:
        return self.why_not is None

    @property
    def simulated(self) -> float | None:
        """Cycles by the simulation of the schedule; None where something was not simulated, as 0 cycles show."""
        whole = self.fits and self.method.startswith("simulated") and all(kernel.cycles for kernel in self.kernels)
        return self.cycles or None if whole else None

    @property
    def estimate(self) -> float | None:
        """Seconds by the cycle count alone."""
        return None if self.cycles is None else self.cycles / self.clock

    @property
    def seconds(self) -> float | None:
        """The larger of estimate and roofline: the simulator lets reads and writes each have the full bandwidth."""
        if self.roofline is None:
            return self.estimate
        return max(self.estimate or 0.0, self.roofline.seconds)

    @property
    def bound(self) -> str | None:
        """What limits it: "schedule", or the wall of the roofline that is above the schedule."""
        if self.seconds is None:
            return None
        return "schedule" if self.estimate and self.estimate >= self.roofline.seconds else self.roofline.wall

    @property
    def of_roofline(self) -> float | None:
        """Share of the physical limit that the estimate reaches, in (0, 1]."""
        return None if not self.seconds or self.roofline is None else self.roofline.seconds / self.seconds

    @property
    def kernels(self) -> tuple[Operation, ...]:
        return tuple(operation for operation in self.operations if operation.kind == "kernel")


def to_json(report: Report) -> str:
    return json.dumps(_plain(report), indent=1)


def from_json(text: str) -> Report:
    """Raises KeyError or TypeError if the text is of another version of these classes."""
    plain = json.loads(text)
    if not isinstance(plain, dict):
        raise TypeError(f"a report must be a JSON object, got {type(plain).__name__}")
    return _typed(Report, plain)


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(v) for name, v in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return dict(value) if hasattr(value, "items") else value


def _typed(kind: type, value: dict) -> Any:
    nested = {"memory": Memory, "roofline": Roofline}
    many = {"operations": Operation, "collectives": Collective}
    found = {}
    for name, entry in value.items():
        if name in nested:
            found[name] = None if entry is None else nested[name](**entry)
        elif name in many:
            found[name] = tuple(many[name](**one) for one in entry)
        else:
            found[name] = tuple(entry) if name == "caveats" else entry
    return kind(**found)
