"""Which instructions of a compiled program take time, and how often each runs: loops multiplied out."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pallas_kernels._lab import rounds
from pallas_kernels._lab.hlo import Instruction, Module

__all__ = ["Running", "running"]

#: Instructions that only name values, or whose work is counted in what they start.
_FREE = frozenset(
    {
        "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "copy-start", "copy-done", "async-start",
        "async-update", "async-done", "after-all", "partition-id", "replica-id", "opt-barrier", "add-dependency",
        "send", "send-done", "recv-done",
    }
)  # fmt: skip
#: What can make a single number out of an array. Any other instruction with a single number as its result is
#: bookkeeping of the scalar unit, such as a loop's counter.
_REDUCING = frozenset({"fusion", "custom-call", "reduce", "dot", "convolution", "all-reduce", "all-reduce-start"})
_SCALAR = re.compile(r"\w+\[\](\{[^}]*\})?$")


class Running(NamedTuple):
    """An instruction that takes time, and how many times it runs."""

    instruction: Instruction
    calls: float


def running(module: Module, caveats: list[str]) -> list[Running]:
    """Every instruction that takes time, in order of the schedule.

    A copy between memories runs beside the instructions that stand between its start and its end: it is listed, by
    its end, only if there are none. Adds to `caveats` each loop that data can end, each conditional (all of its
    branches are counted, which is too much), and the copies that are not listed.
    """
    copies: list[str] = []
    found = list(_visit(module, module.entry, 1.0, {}, caveats, copies))
    if copies:
        several = "copies are" if len(copies) > 1 else "copy is"
        caveats.append(f"{len(copies)} asynchronous {several} taken to overlap with computation")
    return found


def _visit(module, name, calls, known: Mapping[int, int], caveats, copies) -> Iterator[Running]:
    here = module.computations[name]
    waiting: dict[str, bool] = {}  # copies on their way, and whether something has run since they started
    for instruction in here.values():
        opcode = instruction.opcode
        if opcode == "copy-start":
            waiting[instruction.name] = False
        elif opcode == "copy-done":
            if waiting.pop(instruction.operands[0], True):
                copies.append(instruction.name)
            else:
                yield Running(instruction, calls)
        elif opcode in ("while", "conditional", "call", "async-start"):
            waiting = dict.fromkeys(waiting, True)
            for inside, times, state in _inside(module, instruction, here, known, caveats):
                yield from _visit(module, inside, calls * times, state, caveats, copies)
        elif _takes_time(instruction):
            waiting = dict.fromkeys(waiting, True)
            yield Running(instruction, calls)


def _takes_time(instruction: Instruction) -> bool:
    if instruction.opcode in _FREE or 'custom_call_target="AllocateBuffer"' in instruction.rest:
        return False
    return instruction.opcode in _REDUCING or not _SCALAR.match(instruction.shape)


def _inside(module, instruction, here, known, caveats) -> list[tuple[str, int, Mapping[int, int]]]:
    """Computations that an instruction runs, how often, and what is known of the state they are given."""
    if instruction.opcode == "while":
        found = rounds.rounds(module, instruction, here, known)
        if found is None:
            caveats.append(f"loop {instruction.name}: its number of rounds depends on data; counted once")
        elif not found.exact:
            caveats.append(f"loop {instruction.name}: data can end it before its {found.count} rounds; all are counted")
        state = rounds.constants(module, instruction, here, known)
        return [(instruction.attribute("body"), 1 if found is None else found.count, state)]
    if instruction.opcode == "conditional":
        caveats.append(f"conditional {instruction.name}: all branches are counted")
        return [(branch, 1, {}) for branch in _branches(instruction)]
    return [(instruction.attribute("to_apply") or instruction.attribute("calls"), 1, {})]


def _branches(instruction: Instruction) -> list[str]:
    listed = re.search(r"branch_computations=\{([^}]*)\}", instruction.rest)
    if listed:
        return re.findall(r"%?([\w.\-<>]+)", listed[1])
    return [instruction.attribute(side) for side in ("true_computation", "false_computation")]
