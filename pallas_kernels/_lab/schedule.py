"""Reads what the compiler dumps of each operation's final schedule: simulated cycles, bundles, units, spills.

The dumps are undocumented and differ a little between compilers, so that units are read from the header of each file.
"""

import pathlib
import re
from typing import NamedTuple

__all__ = ["Schedule", "cycles", "dump_flags", "profile_flags", "schedule"]

_UTILIZATION = "final_hlo-static-per-bundle-utilization.txt"


class Schedule(NamedTuple):
    """The instruction words of one operation, each counted once however often a loop repeats it."""

    bundles: int
    spills: int
    fills: int
    occupancy: dict[str, float]  # share of the unit's slots that are used


def profile_flags(folder: pathlib.Path) -> list[str]:
    return [f"--xla_jf_dump_static_llo_profile_to={folder}/profile"]


def dump_flags(folder: pathlib.Path) -> list[str]:
    return [f"--xla_jf_dump_to={folder}/schedule", "--xla_jf_dump_llo_pass_label_regex=final_hlo-static"]


def cycles(folder: pathlib.Path) -> dict[str, int]:
    """Simulated cycles by operation; operations that are equal share the estimate of one of them."""
    found = {}
    for path in sorted((folder / "profile").glob("*_static_llo_profile.textproto")):
        text = path.read_text()
        name, estimate = re.search(r'hlo_op_name: "([^"]+)"', text), re.search(r"estimated_cycles: (\d+)", text)
        if name and estimate:
            found[name[1]] = int(estimate[1])
    return found


def schedule(folder: pathlib.Path, operation: str) -> Schedule | None:
    """None if the compiler dumped nothing for the operation, as for one that equals another."""
    pattern = re.compile(rf"\d+-{re.escape(operation)}-\d+-{re.escape(_UTILIZATION)}$")
    paths = [path for path in sorted((folder / "schedule").glob(f"*{_UTILIZATION}")) if pattern.match(path.name)]
    return _read(paths[-1].read_text()) if paths else None


def _read(text: str) -> Schedule:
    lines = text.splitlines()
    units = [unit.strip() for unit in lines[1].split(",")]
    slots = [int(count) for count in lines[2].split()]
    rows = [[int(used) for used in line.split()] for line in lines[4:] if line.strip()[:1].isdigit()]
    used = dict(zip(units, map(sum, zip(*rows, strict=True)), strict=True)) if rows else dict.fromkeys(units, 0)
    spills, fills = (sum(n for unit, n in used.items() if unit.endswith(end)) for end in (":SPILL", ":FILL"))
    occupancy = {
        unit: round(used[unit] / (len(rows) * count), 4) if rows and count else 0.0
        for unit, count in zip(units, slots, strict=True)
        if ":" not in unit
    }
    return Schedule(len(rows), spills, fills, occupancy)
