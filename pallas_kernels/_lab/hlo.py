"""Reads the compiler's text of a finished program: which instructions run, how often, and what they hold."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Instruction", "Running", "parse", "running", "tuple_bytes"]

_BITS = {"pred": 8, "token": 0, "bf16": 16, "f8e4m3fn": 8, "f8e5m2": 8, "c64": 64, "c128": 128}
_SHAPE = re.compile(r"(\w+)\[([\d,<=]*)\](?:\{([^}]*)\})?")
#: Instructions that only name values, or whose work is counted in what they start.
_FREE = frozenset(
    {
        "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "copy-start", "copy-done", "async-start",
        "async-update", "async-done", "after-all", "partition-id", "replica-id", "opt-barrier", "add-dependency",
        "while", "conditional", "call",
    }
)  # fmt: skip


class Instruction(NamedTuple):
    name: str
    shape: str
    opcode: str
    inside: str  # what stands in its parentheses: operands, or a constant's value
    rest: str  # attributes, as text

    @property
    def operands(self) -> tuple[str, ...]:
        return tuple(re.findall(r"%([\w.\-<>]+)", self.inside))


class Running(NamedTuple):
    """An instruction that takes time, and how many times it runs."""

    instruction: Instruction
    calls: float


class Module(NamedTuple):
    entry: str
    computations: dict[str, dict[str, Instruction]]


def parse(text: str) -> Module:
    """Computations by name, instructions by name within them, in order of the schedule."""
    computations, entry, current = {}, "", None
    for line in text.splitlines():
        if current is None:
            head = re.match(r"(ENTRY )?%?([\w.\-<>]+) \(.*\{$", line)
            if head:
                current = computations.setdefault(head[2], {})
                entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            current = None
        elif (found := _instruction(line)) is not None:
            current[found.name] = found
    return Module(entry, computations)


def _instruction(line: str) -> Instruction | None:
    head = re.match(r"\s+(?:ROOT )?%?([\w.\-<>]+) = ", line)
    if not head:
        return None
    start = head.end()
    end = _closing(line, start) + 1 if line[start] == "(" else line.index(" ", start)
    opcode = re.compile(r"\s*([\w\-]+)\(").match(line, end)
    close = _closing(line, opcode.end() - 1)
    return Instruction(head[1], line[start:end], opcode[1], line[opcode.end() : close], line[close + 1 :])


def _closing(text: str, start: int) -> int:
    depth = 0
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position
    raise ValueError(f"the compiler's text has an unclosed parenthesis: {text[start : start + 80]}")


def tuple_bytes(shape: str, *, hbm_only: bool = False) -> int:
    """Bytes of a shape or a tuple of shapes; `hbm_only` leaves out what lives in on-chip memory or on the host."""
    total = 0
    for dtype, sizes, layout in _SHAPE.findall(re.sub(r"/\*.*?\*/", "", shape)):
        if hbm_only and re.search(r"S\([1-9]\)", layout):
            continue
        bits = _BITS[dtype] if dtype in _BITS else int(re.sub(r"\D", "", dtype) or 0)
        total += math.prod(int(re.sub(r"\D", "", size)) for size in sizes.split(",") if size) * bits // 8
    return total


def running(module: Module, caveats: list[str]) -> list[Running]:
    """Every instruction that takes time, with loops multiplied out.

    Adds to `caveats` each loop whose trip count the text does not tell (counted once) and each conditional (all of its
    branches are counted, which is too much).
    """
    return list(_visit(module, module.entry, 1.0, caveats))


def _visit(module, name, calls, caveats) -> Iterator[Running]:
    for instruction in module.computations[name].values():
        if instruction.opcode == "while":
            trips = _trip_count(module, instruction, module.computations[name])
            if trips is None:
                caveats.append(f"loop {instruction.name}: its number of rounds depends on data; counted once")
            yield from _visit(module, _called(instruction, "body"), calls * (trips or 1), caveats)
        elif instruction.opcode == "conditional":
            caveats.append(f"conditional {instruction.name}: all branches are counted")
            for branch in _branches(instruction):
                yield from _visit(module, branch, calls, caveats)
        elif instruction.opcode in ("call", "async-start"):
            target = _called(instruction, "to_apply") or _called(instruction, "calls")
            yield from _visit(module, target, calls, caveats)
        elif instruction.opcode not in _FREE:
            yield Running(instruction, calls)


def _called(instruction: Instruction, attribute: str) -> str:
    found = re.search(rf"\b{attribute}=%?([\w.\-<>]+)", instruction.rest)
    return found[1] if found else ""


def _branches(instruction: Instruction) -> list[str]:
    listed = re.search(r"branch_computations=\{([^}]*)\}", instruction.rest)
    if listed:
        return re.findall(r"%?([\w.\-<>]+)", listed[1])
    return [_called(instruction, side) for side in ("true_computation", "false_computation")]


def _trip_count(module, loop: Instruction, around: dict[str, Instruction]) -> int | None:
    """Rounds of a loop that counts an integer up by one to a constant: the only form the compiler makes of a scan."""
    condition = module.computations[_called(loop, "condition")]
    compare = [i for i in condition.values() if i.opcode == "compare" and "direction=LT" in i.rest]
    fused = [module.computations[_called(i, "calls")] for i in condition.values() if i.opcode == "fusion"]
    compare += [i for inner in fused for i in inner.values() if i.opcode == "compare" and "direction=LT" in i.rest]
    limits = [
        _integer(i) for i in condition.values() if i.opcode == "constant" and i.shape.startswith(("s32[]", "s64[]"))
    ]
    if len(compare) != 1 or len(limits) != 1 or limits[0] is None:
        return None
    counter = next((i for i in condition.values() if i.opcode == "get-tuple-element"), None)
    start = _start(loop, counter, around)
    return max(0, limits[0] - (start or 0))


def _start(loop, counter, around) -> int | None:
    position = re.search(r"index=(\d+)", counter.rest) if counter else None
    initial = around.get(loop.operands[0])
    if position is None or initial is None or initial.opcode != "tuple":
        return None
    value = around.get(initial.operands[int(position[1])])
    while value is not None and value.opcode in ("copy", "bitcast"):
        value = around.get(value.operands[0])
    return _integer(value) if value is not None else None


def _integer(instruction: Instruction) -> int | None:
    found = re.fullmatch(r"-?\d+", instruction.inside) if instruction.opcode == "constant" else None
    return int(found[0]) if found else None
