"""How often a compiled loop runs: the compiler's text does not say, its counter does.

A loop is counted if its condition compares a number in its state with a constant, the number starts at a constant and
each round adds a constant to it. A counter of 64 bits is two words, of which the lower counts as long as the upper is
zero. Everything else depends on data.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from pallas_kernels._lab.hlo import Instruction, Module

__all__ = ["Rounds", "constants", "rounds"]

_SAME = frozenset({"copy", "bitcast", "bitcast-convert", "reshape", "opt-barrier"})
_TURNED = {"LT": "GT", "LE": "GE", "GT": "LT", "GE": "LE", "EQ": "EQ", "NE": "NE"}


class Rounds(NamedTuple):
    """Attributes:
    count: rounds of one execution of the loop.
    exact: False if data can end the loop before.
    """

    count: int
    exact: bool


class _Number(NamedTuple):
    """An integer: `shift`, plus the loop's state at `index` unless that is None."""

    index: int | None
    shift: int


class _Comparison(NamedTuple):
    left: _Number
    right: _Number
    direction: str


class _LowWord(NamedTuple):
    """A comparison of the lower words of two numbers of 64 bits that are below 2**32."""

    comparison: _Comparison
    upper: int  # position of the upper word in the loop's state


class _All(NamedTuple):
    """True where every part is; None stands for a part that depends on something else."""

    parts: tuple[_Comparison | None, ...]


def rounds(
    module: Module, loop: Instruction, around: Mapping[str, Instruction], known: Mapping[int, int]
) -> Rounds | None:
    """Rounds of a `while` instruction; None if they depend on data.

    Args:
      module: the program.
      loop: the instruction.
      around: the computation that it stands in.
      known: what the enclosing loop holds constant, by position in its state.
    """
    condition = _root(module, loop.attribute("condition"), {})
    parts = condition.parts if isinstance(condition, _All) else (condition,)
    steps, starts = _steps(module, loop), _starts(module, loop, around, known)
    narrow = [part.comparison if _is_narrow(part, starts) else part for part in parts]
    counts = [_count(part, steps, starts) for part in narrow if isinstance(part, _Comparison)]
    found = [count for count in counts if count is not None]
    return Rounds(min(found), len(found) == len(parts)) if found else None


def constants(
    module: Module, loop: Instruction, around: Mapping[str, Instruction], known: Mapping[int, int]
) -> dict[int, int]:
    """What the loop holds constant, by position in its state."""
    steps = _steps(module, loop)
    return {index: start for index, start in _starts(module, loop, around, known).items() if steps.get(index) == 0}


def _is_narrow(part, starts) -> bool:
    return isinstance(part, _LowWord) and starts.get(part.upper) == 0


def _count(comparison: _Comparison, steps, starts) -> int | None:
    left, right, direction = comparison
    if left.index is None or steps.get(left.index) == 0:
        left, right, direction = right, left, _TURNED[direction]
    if left.index is None or left.index not in starts or not steps.get(left.index):
        return None
    if right.index is not None and (right.index not in starts or steps.get(right.index) != 0):
        return None
    limit = right.shift + (0 if right.index is None else starts[right.index])
    step, distance = steps[left.index], limit - left.shift - starts[left.index]
    if direction in ("GT", "GE"):
        step, distance, direction = -step, -distance, _TURNED[direction]
    if direction == "NE" and distance % step == 0 and distance // step >= 0:
        return distance // step
    if direction not in ("LT", "LE") or step < 0:
        return None
    return max(0, math.ceil((distance + (direction == "LE")) / step))


def _steps(module: Module, loop: Instruction) -> dict[int, int]:
    """What each round adds to the loop's state, where that is a constant."""
    body = module.computations[loop.attribute("body")]
    root = next(i for i in body.values() if i.root)
    if root.opcode != "tuple":
        return {}
    after = [_value(module, body, operand, {}) for operand in root.operands]
    return {index: v.shift for index, v in enumerate(after) if isinstance(v, _Number) and v.index == index}


def _starts(module, loop, around, known) -> dict[int, int]:
    initial = around.get(loop.operands[0])
    if initial is None or initial.opcode != "tuple":
        return {}
    found = {}
    for index, operand in enumerate(initial.operands):
        value = _value(module, around, operand, {})
        if isinstance(value, _Number) and (value.index is None or value.index in known):
            found[index] = value.shift + (0 if value.index is None else known[value.index])
    return found


def _root(module: Module, name: str, given: Mapping[int, object]):
    computation = module.computations[name]
    return _value(module, computation, next(i.name for i in computation.values() if i.root), given)


def _value(module: Module, computation: Mapping[str, Instruction], name: str, given: Mapping[int, object]):
    """What an instruction is in terms of the loop's state: a number, a comparison, several, or None.

    `given` has the parameters of a fused computation; without it the one parameter is the loop's state.
    """
    instruction = computation.get(name)
    if instruction is None:
        return None
    opcode, operands = instruction.opcode, instruction.operands

    def operand(position):
        return _value(module, computation, operands[position], given)

    if opcode == "constant":
        text = instruction.inside.strip()
        return _Number(None, int(text)) if text.lstrip("-").isdecimal() and "[]" in instruction.shape else None
    if opcode == "parameter":
        return given.get(int(instruction.inside))
    if opcode == "get-tuple-element":
        source = computation.get(operands[0])
        is_state = source is not None and source.opcode == "parameter" and not given
        return _Number(int(instruction.attribute("index")), 0) if is_state and "[]" in instruction.shape else None
    if opcode in _SAME:
        return operand(0)
    if opcode in ("fusion", "call"):
        arguments = {position: operand(position) for position in range(len(operands))}
        return _root(module, instruction.attribute("calls") or instruction.attribute("to_apply"), arguments)
    if opcode in ("add", "subtract") and len(operands) == 2:
        return _sum(operand(0), operand(1), -1 if opcode == "subtract" else 1)
    if opcode == "compare":
        left, right = operand(0), operand(1)
        whole = isinstance(left, _Number) and isinstance(right, _Number)
        return _Comparison(left, right, instruction.attribute("direction")) if whole else None
    if opcode == "and":
        sides = (operand(0), operand(1))
        return _All(tuple(part for side in sides for part in (side.parts if isinstance(side, _All) else (side,))))
    if opcode == "or":
        return _wide(operand(0), operand(1))
    return None


def _wide(less, equal) -> _LowWord | None:
    """upper < 0, or upper == 0 and lower < limit: how a comparison of 64 bits is written in words of 32."""
    if not (isinstance(less, _Comparison) and isinstance(equal, _All) and len(equal.parts) == 2):
        return None
    upper, zero = less.left, _Number(None, 0)
    negative, exact = _Comparison(upper, zero, "LT"), _Comparison(upper, zero, "EQ")
    lower = [part for part in equal.parts if part != exact]
    if upper.index is None or less != negative or len(lower) != 1 or not isinstance(lower[0], _Comparison):
        return None
    return _LowWord(lower[0], upper.index)


def _sum(left, right, sign: int) -> _Number | None:
    if not isinstance(left, _Number) or not isinstance(right, _Number):
        return None
    if right.index is None:
        return _Number(left.index, left.shift + sign * right.shift)
    return _Number(right.index, left.shift + right.shift) if left.index is None and sign > 0 else None
