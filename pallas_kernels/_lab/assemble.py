"""Makes a report of what a child process left."""

import pathlib
import re
from typing import NamedTuple

from pallas_kernels._lab import execution, hlo, schedule
from pallas_kernels._lab.chips import Target
from pallas_kernels._lab.export import Program
from pallas_kernels._lab.report import Collective, Memory, Operation, Roofline

__all__ = ["Contents", "contents", "dumped", "kernel_names", "memory", "roofline", "traffic"]

_COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective-permute", "ragged-all-to-all")


class Contents(NamedTuple):
    operations: tuple[Operation, ...]
    collectives: tuple[Collective, ...]
    caveats: tuple[str, ...]


def contents(text: str, cycles: dict[str, int], folder: pathlib.Path) -> Contents:
    """What runs in a compiled program. `cycles` are simulated, by operation; {} for its quick estimates."""
    caveats: list[str] = []
    module = hlo.parse(text)
    operations, collectives, alike = [], [], {}
    shapes = {i.name: i.shape for computation in module.computations.values() for i in computation.values()}
    for instruction, calls in execution.running(module, caveats):
        kind = instruction.opcode.removesuffix("-start").removesuffix("-done")
        if kind == "recv":
            collectives.append(_between_slices(instruction, calls))
        elif kind in _COLLECTIVES:
            if not instruction.opcode.endswith("-done"):
                collectives.append(_collective(instruction, kind, calls))
        else:
            operations.append(_operation(shapes, instruction, calls, cycles, folder))
            alike[instruction.name] = _likeness(module, shapes, instruction)
    return Contents(_shared(operations, alike), tuple(collectives), tuple(caveats))


def _operation(shapes, instruction, calls, cycles, folder) -> Operation:
    rest, name = instruction.rest, instruction.name
    embedded = re.search(r'"bundle_analysis_data":\{"estimated_cycles":"(\d+)"', rest)
    quick = re.search(r'"estimated_cycles":"(\d+)"', rest)
    read = sum(hlo.tuple_bytes(shapes.get(operand, ""), hbm_only=True) for operand in instruction.operands)
    written = 0 if instruction.opcode == "copy-done" else hlo.tuple_bytes(instruction.shape, hbm_only=True)
    scoped = re.search(r'"used_scoped_memory_configs":\[(.*?)\]', rest)
    sizes = re.findall(r'"memory_space":"1","offset":"\d+","size":"(\d+)"', scoped[1]) if scoped else ()
    operation = Operation(
        name=name,
        kind="kernel" if 'custom_call_target="tpu_custom_call"' in rest else instruction.opcode,
        calls=calls,
        cycles=int(quick[1]) if quick else None,
        flops=float(_estimate(rest, "flops")),
        bytes=float(_estimate(rest, "bytes_accessed") or read + written),
        vmem=max(map(int, sizes), default=0),
    )
    if embedded and name not in cycles:  # equals an operation of another name, whose profile stands for both
        operation = operation._replace(cycles=int(embedded[1]), simulated=True)
    return dumped(operation, cycles, folder)


def dumped(operation: Operation, cycles: dict[str, int], folder: pathlib.Path) -> Operation:
    """The operation with what the compiler dumped of it."""
    if operation.name in cycles:
        operation = operation._replace(cycles=cycles[operation.name], simulated=True)
    found = schedule.schedule(folder, operation.name)
    return operation if found is None else operation._replace(**found._asdict())


def _estimate(rest: str, field: str) -> int:
    found = re.search(rf'"cost_estimate":\{{[^}}]*"{field}":"(\d+)"', rest)
    return int(found[1]) if found else 0


def _shared(operations: list[Operation], alike: dict[str, tuple]) -> tuple[Operation, ...]:
    """Equal operations share one profile and one schedule: those without take them from one that is alike."""
    owners = {alike[o.name]: o for o in operations if o.simulated and o.bundles is not None}
    fields = ("bundles", "spills", "fills", "occupancy")

    def filled(operation):
        owner = owners.get(alike[operation.name])
        if operation.bundles is not None or owner is None:
            return operation
        shared = {field: getattr(owner, field) for field in fields}
        cycles = operation.cycles if operation.simulated else owner.cycles
        return operation._replace(cycles=cycles, simulated=True, **shared)

    return tuple(map(filled, operations))


def _likeness(module, shapes, instruction) -> tuple:
    """Equal for operations that do the same: name without its number, shapes, and what is computed."""
    stem = re.sub(r"(\.\d+|\.clone)+$", "", instruction.name)
    read = tuple(shapes.get(operand, "") for operand in instruction.operands)
    kernel = re.search(r'"body":"([^"]*)"', instruction.rest)
    fused = module.computations.get(instruction.attribute("calls"), {}).values()
    steps = tuple((i.opcode, i.shape, i.inside if i.opcode == "constant" else "") for i in fused)
    return stem, instruction.shape, read, kernel and kernel[1], steps


def _collective(instruction, kind, calls) -> Collective:
    groups = re.search(r"replica_groups=\{\{([\d,]*)\}", instruction.rest)
    iota = re.search(r"replica_groups=\[(\d+),(\d+)\]", instruction.rest)
    pairs = re.search(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}", instruction.rest)
    group = len(groups[1].split(",")) if groups else int(iota[2]) if iota else pairs[1].count("{") if pairs else 0
    algorithm = re.search(r'"emitter":"(\w+)"', instruction.rest)
    shape = instruction.shape
    if instruction.opcode.endswith("-start") and kind != "all-reduce":  # (operands, results, counters)
        arrays = re.findall(r"\w+\[[\d,]+\](?:\{[^}]*\})?", shape)
        shape = "".join(arrays[len(arrays) // 2 :])
    return Collective(instruction.name, kind, calls, hlo.tuple_bytes(shape), group, algorithm[1] if algorithm else "")


def _between_slices(instruction, calls) -> Collective:
    """What a device receives from other slices; the host's network carries it."""
    kind = re.search(r'_xla_megascale_transfer_type="(\w+)"', instruction.rest)
    slices = re.search(r'_xla_megascale_target="\{([\d,]*)\}', instruction.rest)
    name = kind[1].lower().replace("_", "-") if kind else "recv"
    group = len(slices[1].split(",")) if slices else 0
    array = re.match(r"\(\w+\[[\d,]*\]", instruction.shape)
    return Collective(instruction.name, name, calls, hlo.tuple_bytes(array[0]), group, "between slices")


def kernel_names(operations: tuple[Operation, ...]) -> list[str]:
    return [operation.name for operation in operations if operation.kind == "kernel"]


def memory(sizes: dict[str, int], target: Target) -> Memory:
    return Memory(**sizes, available=round(target.chip.available))


def traffic(text: str) -> int:
    """Bytes of the entry's arguments and results: what must cross HBM however good the schedule."""
    head = re.search(r"^ENTRY %?[\w.\-<>]+ \((.*)\) -> (.*) \{$", text, re.MULTILINE)
    return hlo.tuple_bytes(head[1]) + hlo.tuple_bytes(head[2])


def roofline(program: Program, num_bytes: float, collectives: tuple[Collective, ...], target: Target) -> Roofline:
    chip = target.chip
    moved = sum(c.calls * c.bytes for c in collectives)
    return Roofline(num_bytes / chip.bandwidth, program.counts.passes / chip.flops, moved / chip.links)
