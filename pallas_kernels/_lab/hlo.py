"""Reads the compiler's text of a finished program: its computations, their instructions, the bytes these hold."""

import math
import re
from typing import NamedTuple

__all__ = ["Instruction", "Module", "parse", "tuple_bytes"]

_BITS = {"pred": 8, "token": 0, "bf16": 16, "f8e4m3fn": 8, "f8e5m2": 8, "c64": 64, "c128": 128}
_SHAPE = re.compile(r"(\w+)\[([\d,<=]*)\](?:\{([^}]*)\})?")


class Instruction(NamedTuple):
    name: str
    shape: str
    opcode: str
    inside: str  # what stands in its parentheses: operands, or a constant's value
    rest: str  # attributes, as text
    root: bool = False  # whether it is its computation's result

    @property
    def operands(self) -> tuple[str, ...]:
        return tuple(re.findall(r"%([\w.\-<>]+)", self.inside))

    def attribute(self, name: str) -> str:
        """A computation, number or word among the attributes; "" if there is none of that name."""
        found = re.search(rf"\b{name}=%?([\w.\-<>]+)", self.rest)
        return found[1] if found else ""


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
    head = re.match(r"\s+(ROOT )?%?([\w.\-<>]+) = ", line)
    if not head:
        return None
    start = head.end()
    end = _closing(line, start) + 1 if line[start] == "(" else line.index(" ", start)
    opcode = re.compile(r"\s*([\w\-]+)\(").match(line, end)
    close = _closing(line, opcode.end() - 1)
    inside, rest = line[opcode.end() : close], line[close + 1 :]
    return Instruction(head[2], line[start:end], opcode[1], inside, rest, bool(head[1]))


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
