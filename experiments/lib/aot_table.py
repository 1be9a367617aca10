"""What `experiments.aot` prints: reports as rows, for people (rich tables) and for programs (CSV)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from experiments.lib.aot_text import amount, busiest, bytes_text, each, ruled, seconds_text, share, whole

if TYPE_CHECKING:
    from pallas_kernels._lab.gpu import GpuReport
    from pallas_kernels._lab.report import Operation, Report

__all__ = ["MODEL", "details", "gpu_kernels", "gpu_row", "kernel_row", "kernels", "program_row", "programs"]

MODEL = "Times are the compiler's simulation of its own schedule: a model, not a measurement."
_EXPENSIVE = 5


def program_row(config: dict[str, Any], report: Report) -> dict[str, Any]:
    """One report as flat values; bytes, flops and seconds are of one device.

    Args:
      config: what asked for it: `config`, `replicates`, `impl`, `chunk` (steps of one execution) and `steps`.
    """
    memory, chunks = report.memory, config["steps"] / config["chunk"]
    roofline = report.roofline
    return config | {
        "target": report.target,
        "devices": report.devices,
        "fits": report.fits,
        "why_not": report.why_not,
        "missing_bytes": report.missing,
        **{f"{name}_bytes": getattr(memory, name, None) for name in
           ("arguments", "outputs", "aliased", "temporaries", "code", "total", "available")},
        "flops_per_step": report.flops / config["chunk"],
        "collectives": sum(c.calls for c in report.collectives),
        "collective_bytes": sum(c.calls * c.bytes for c in report.collectives),
        "kernels": len(report.kernels),
        "cycles": report.cycles,
        "method": report.method,
        "roofline_seconds": roofline and roofline.seconds,
        "chunk_seconds": report.seconds if report.cycles is not None else None,
        "run_seconds": report.seconds * chunks if report.cycles is not None else None,
        "bound": report.bound if report.cycles is not None else None,
        "of_roofline": report.of_roofline if report.cycles is not None else None,
        "lower_seconds": report.lower_seconds,
        "compile_seconds": report.compile_seconds,
        "host_bytes": report.host_bytes,
        "compiler": report.compiler,
        "caveats": "; ".join(report.caveats),
    }  # fmt: skip


def programs(rows: Sequence[dict[str, Any]]) -> Table:
    """One line for each program and target."""
    compared = len({row["impl"] for row in rows}) > 1
    timed = any(row["cycles"] is not None for row in rows)
    times = ["one chunk", "whole run", "bound by"] if timed else []
    table = ruled(
        ["config", "target", *(["by"] if compared else [])],
        ["devices", "fits", "HBM a chip", "flops a step", "collectives", *times, "lower s", "compile s", "host GB"],
    )
    for row in rows:
        sent = f"{bytes_text(row['collective_bytes'])}" if row["collectives"] else "none"
        table.add_row(
            *(row["config"], row["target"], *([row["impl"]] if compared else [])),
            f"{row['devices']:,}",
            "yes" if row["fits"] else f"no, {bytes_text(row['missing_bytes'])} short" if row["missing_bytes"] else "no",
            "" if row["total_bytes"] is None else bytes_text(row["total_bytes"]),
            amount(row["flops_per_step"]),
            sent if row["fits"] else "",
            *((seconds_text(row["chunk_seconds"]), seconds_text(row["run_seconds"]), row["bound"] or "")[: len(times)]),
            f"{row['lower_seconds']:.1f}",
            f"{row['compile_seconds']:.1f}",
            f"{row['host_bytes'] / 1e9:.2f}",
        )
    return table


def details(title: str, config: dict[str, Any], reports: dict[str, Report]) -> Group:
    """Everything about one program on one target; several reports stand side by side, the first is the one costed."""
    facts = Table(box=None, show_header=len(reports) > 1, padding=(0, 2, 0, 0))
    facts.add_column()
    for name in reports:
        facts.add_column(name, overflow="fold")
    columns = [_facts(config, report) for report in reports.values()]
    for name in dict.fromkeys(name for column in columns for name in column):
        facts.add_row(name, *(column.get(name, "") for column in columns))
    timed = [report.seconds for report in reports.values() if report.cycles]
    if len(timed) == 2:
        facts.add_row("ratio of the times", f"{timed[1] / timed[0]:.2f}")
    parts: list[RenderableType] = [Text(title, style="bold"), facts]
    for name, report in reports.items():
        suffix = f" ({name})" if len(reports) > 1 else ""
        if report.kernels:
            parts += [Text(f"\nPallas kernels{suffix}"), _kernel_operations(report.kernels)]
        if report.collectives:
            parts += [Text(f"\nCollectives{suffix}"), _collectives(report)]
        if report.cycles:
            parts += [Text(f"\nMost expensive of {len(report.operations)} operations{suffix}"), _expensive(report)]
    caveats = dict.fromkeys(caveat for report in reports.values() for caveat in report.caveats)
    parts += [Text(f"- {caveat}") for caveat in caveats]
    if any(report.cycles for report in reports.values()):
        parts.append(Text(MODEL))
    return Group(*parts)


def _facts(config, report) -> dict[str, str]:
    row = program_row(config, report)
    short = f", by {bytes_text(report.missing)}" if report.missing else ""
    facts = {"fits": "yes" if report.fits else f"no{short}: {report.why_not}"}
    if report.memory is not None:
        parts = ("arguments", "outputs", "temporaries", "code")
        listed = ", ".join(f"{name} {bytes_text(row[f'{name}_bytes'])}" for name in parts)
        shared = f", {bytes_text(row['aliased_bytes'])} of them shared" if row["aliased_bytes"] else ""
        facts["HBM a chip"] = (
            f"{bytes_text(row['total_bytes'])} of {bytes_text(row['available_bytes'])}: {listed}{shared}"
        )
    facts["flops a chip and step"] = amount(row["flops_per_step"])
    if report.fits:
        moved = f"{bytes_text(row['collective_bytes'])} a chip in {row['collectives']:,.0f} calls"
        facts["collectives"] = moved if row["collectives"] else "none"
    if row["chunk_seconds"] is not None:
        facts |= _times(config, report, row)
    facts["lowered, compiled in"] = f"{report.lower_seconds:.1f} s, {report.compile_seconds:.1f} s" + (
        " (simulation included)" if report.cycles is not None else ""
    )
    facts["peak host memory"] = f"{report.host_bytes / 1e9:.2f} GB, {report.compiler}"
    return facts


def _times(config, report, row) -> dict[str, str]:
    wall = {"hbm": "HBM", "mxu": "matrix unit", "link": "links"}
    reached = f"{share(report.of_roofline)} of the roofline"
    return {
        f"one chunk, {config['chunk']:,} steps": seconds_text(row["chunk_seconds"]),
        "no faster than": f"{seconds_text(row['roofline_seconds'])} ({wall[report.roofline.wall]})",
        f"whole run, {config['steps']:,} steps": seconds_text(row["run_seconds"]),
        "bound by": f"{wall.get(report.bound, report.bound)}; {reached}",
        "cycles": f"{report.cycles:,.0f} at {report.clock / 1e9:g} GHz ({report.method})",
    }


def _kernel_operations(operations: Sequence[Operation]) -> Table:
    table = ruled(["kernel"], ["calls", "cycles", "bundles", "VMEM", "spills", "fills", "busiest units"])
    for operation in operations:
        table.add_row(
            operation.name,
            f"{operation.calls:,.0f}",
            whole(operation.cycles),
            whole(operation.bundles),
            bytes_text(operation.vmem),
            whole(operation.spills),
            whole(operation.fills),
            busiest(operation.occupancy),
        )
    return table


def _collectives(report: Report) -> Table:
    table = ruled(["name", "kind"], ["calls", "bytes each", "devices in a group", "algorithm"])
    for found in report.collectives:
        table.add_row(
            *(found.name, found.kind, f"{found.calls:,.0f}", bytes_text(found.bytes)),
            *(str(found.group or "all"), found.algorithm),
        )
    return table


def _expensive(report: Report) -> Table:
    table = ruled(["operation", "kind"], ["calls", "cycles each", "of all cycles", ""])
    ranked = sorted(report.operations, key=lambda o: -o.calls * (o.cycles or 0))[:_EXPENSIVE]
    for operation in ranked:
        part = operation.calls * (operation.cycles or 0) / report.cycles
        table.add_row(
            *(operation.name, operation.kind, f"{operation.calls:,.0f}", whole(operation.cycles), f"{part:.1%}"),
            "" if operation.simulated else "not simulated",
        )
    return table


def kernel_row(entry: dict[str, Any], units: float, per: str, report: Report) -> dict[str, Any]:
    """One case of a kernel, by the kernel or by XLA, as flat values. `entry`: kernel, case and impl."""
    head = _head(report)
    occupancy = (head.occupancy or {}) if head else {}
    return entry | {
        "target": report.target,
        "fits": report.fits,
        "why_not": report.why_not,
        "per": per,
        "cycles": report.cycles,
        "cycles_each": report.cycles and report.cycles / units,
        "seconds": report.seconds if report.cycles is not None else None,
        "bundles": head and head.bundles,
        "spills": head and head.spills,
        "fills": head and head.fills,
        "vmem_bytes": head and head.vmem,
        "occupancy": ", ".join(f"{unit} {used}" for unit, used in occupancy.items()),
        "of_roofline": report.of_roofline if report.cycles is not None else None,
        "bound": report.bound if report.cycles is not None else None,
        "flops": report.flops,
        "bytes": report.bytes,
        "method": report.method,
        "compiler": report.compiler,
        "caveats": "; ".join(report.caveats),
    }


def kernels(rows: Sequence[dict[str, Any]]) -> Group:
    """One line for each case and chip, XLA's own schedule beside the kernel where it was asked for."""
    compared = any(row["impl"] == "xla" for row in rows)
    per = list(dict.fromkeys(row["per"] for row in rows))
    beside = ["XLA", "ratio"] if compared else []
    table = ruled(
        ["case", "chip", *(["per"] if len(per) > 1 else [])],
        ["kernel", *beside, "bundles", "spills", "fills", "VMEM", "busiest units", "of roofline", "bound by"],
    )
    peers = {(row["case"], row["target"]): row for row in rows if row["impl"] == "xla"}
    for row in (row for row in rows if row["impl"] == "kernel"):
        peer = peers.get((row["case"], row["target"]))
        ours, other = row["cycles_each"], peer and peer["cycles_each"]
        ratio = f"{other / ours:.2f}" if ours and other else ""
        units = dict(part.rsplit(" ", 1) for part in row["occupancy"].split(", ") if part)
        table.add_row(
            *(row["case"], row["target"], *([row["per"]] if len(per) > 1 else [])),
            *(each(ours) if row["fits"] else "does not fit", *([each(other), ratio] if compared else [])),
            *(whole(row[name]) for name in ("bundles", "spills", "fills")),
            "" if row["vmem_bytes"] is None else bytes_text(row["vmem_bytes"]),
            busiest({unit: float(used) for unit, used in units.items()}),
            share(row["of_roofline"]),
            row["bound"] or "",
        )
    of = f"Cycles per {per[0]}. " if len(per) == 1 else "Cycles. "
    weaker = [
        f"- {row['case']} on {row['target']} by {row['impl']}: {row['method']}" for row in rows
        if row["method"] not in ("simulated", "none")
    ]  # fmt: skip
    return Group(table, *map(Text, weaker), Text(of + MODEL))


def gpu_row(asked: dict[str, Any], report: GpuReport) -> dict[str, Any]:
    """A program on a GPU as flat values; bytes are of one device."""
    occupancies = [kernel.occupancy for kernel in report.kernels if kernel.occupancy is not None]
    return asked | {
        "target": report.target,
        "devices": report.devices,
        "fits": report.fits,
        "why_not": report.why_not,
        "total_bytes": report.memory and report.memory.total,
        "available_bytes": report.memory and report.memory.available,
        "kernels": len(report.kernels),
        "spilt_bytes": sum(kernel.spills for kernel in report.kernels),
        "least_occupancy": min(occupancies, default=None),
        "compile_seconds": report.compile_seconds,
        "host_bytes": report.host_bytes,
        "compiler": report.compiler,
        "caveats": "; ".join(report.caveats),
    }


def gpu_kernels(title: str, report: GpuReport) -> Group:
    """A program on a GPU: no times, since nothing simulates one."""
    parts: list[RenderableType] = [Text(title, style="bold")]
    parts.append(Text("fits" if report.fits else f"does not fit: {report.why_not}"))
    if report.memory is not None:
        parts.append(Text(f"{bytes_text(report.memory.total)} of {bytes_text(report.memory.available)} on each device"))
    table = ruled(["kernel"], ["launches", "blocks", "threads", "registers", "spilt", "shared", "occupancy", "limit"])
    for kernel in report.kernels:
        table.add_row(
            *(kernel.name, whole(kernel.launches), whole(kernel.blocks), whole(kernel.threads)),
            *(whole(kernel.registers), bytes_text(kernel.spills)),
            "" if kernel.shared_memory is None else bytes_text(kernel.shared_memory),
            "" if kernel.occupancy is None else f"{kernel.occupancy:.0%}",
            kernel.limit or "",
        )
    parts += [table] if report.kernels else []
    parts += [Text(f"- calls {', '.join(report.libraries)}")] if report.libraries else []
    parts += [Text(f"- {caveat}") for caveat in report.caveats]
    spent = f"{report.compile_seconds:.1f} s, {report.host_bytes / 1e9:.2f} GB on the host, {report.compiler}"
    return Group(*parts, Text(f"compiled in {spent}"))


def _head(report: Report) -> Operation | None:
    """The operation that takes most of the time."""
    return max(report.operations, key=lambda o: o.calls * (o.cycles or 0), default=None)
