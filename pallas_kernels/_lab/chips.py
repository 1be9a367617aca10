"""TPU generations, their limits, and the slices that can be rented: what a roofline and a topology name mean.

Peaks and bandwidths are the vendor's published figures, per JAX device; v4's network is taken to be v5p's. Clocks are
inferred from peak and matrix-unit size (tpu7x's is unsure). `available` was read from the compiler's own out-of-memory
message, issue slots from the header of its dumped schedules.
"""

import itertools
import math
from typing import NamedTuple

from pallas_kernels._lab.report import LabError

__all__ = ["CHIPS", "LANES", "Chip", "Slots", "Target", "slices_of", "target"]

GIB = 1 << 30


class Slots(NamedTuple):
    """Instructions that one TensorCore issues in a cycle, by unit, on registers of 8 x 128 numbers of 32 bits."""

    mxu: int
    valu: int
    xlu: int
    eup: int  # exponentials, reciprocals, logarithms, roots
    load: int
    store: int


#: Numbers of 32 bits in a vector register.
LANES = 8 * 128


class Chip(NamedTuple):
    """One JAX device: a chip, or one of its two cores on v4 and tpu7x."""

    name: str
    clock: float  # cycles per second
    flops: float  # per second, bfloat16 products with float32 sums
    bandwidth: float  # HBM bytes per second
    links: float  # bytes per second out of the device over all its links to other chips
    network: float  # bytes per second that reach the device from other slices, its share of the host's cards
    available: float  # bytes of HBM that a program may use
    cores: int  # devices of one chip
    largest: tuple[int, ...]  # the whole pod, in chips
    slots: Slots
    tensor_cores: int = 1  # of one device; two share a kernel's grid where it says that an axis is parallel
    simulated: bool = True  # False where the compiler's profiler has no model of the memory system

    @property
    def vector_flops(self) -> float:
        """Per second, of the vector units: one for each slot and lane."""
        return self.slots.valu * LANES * self.clock * self.tensor_cores

    def cycles(self, num_bytes: float) -> float:
        """Cycles that HBM needs for so many bytes."""
        return num_bytes / self.bandwidth * self.clock


_V4 = Slots(mxu=4, valu=2, xlu=2, eup=1, load=1, store=1)
_BROAD = Slots(mxu=4, valu=4, xlu=3, eup=1, load=3, store=1)
_DEEP = Slots(mxu=2, valu=4, xlu=2, eup=1, load=3, store=2)

CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", 1.05e9, 137e12, 614e9, 150e9, 3.125e9, 15.25 * GIB, 2, (16, 16, 16), _V4, simulated=False),
        Chip("v5e", 1.5e9, 197e12, 819e9, 200e9, 3.125e9, 15.75 * GIB, 1, (16, 16), _BROAD),
        Chip("v5p", 1.75e9, 459e12, 2765e9, 600e9, 6.25e9, 95.74 * GIB, 1, (16, 20, 28), _BROAD, tensor_cores=2),
        Chip("v6e", 1.75e9, 918e12, 1640e9, 448e9, 12.5e9, 31.25 * GIB, 1, (16, 16), _DEEP),
        Chip("tpu7x", 2.2e9, 1153e12, 3690e9, 300e9, 6.25e9, 94.75 * GIB, 2, (16, 16, 36), _DEEP),
    )
}

_SMALL = {
    2: ((2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16)),
    3: ((2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4)),
}


class Target(NamedTuple):
    """Chips to compile for: one device, a slice, or several slices."""

    chip: Chip
    shape: tuple[int, ...] | None = None  # of a slice, in chips; None for one device
    slices: int = 1

    @property
    def devices(self) -> int:
        return 1 if self.shape is None else math.prod(self.shape) * self.chip.cores * self.slices

    @property
    def topology(self) -> str:
        """The compiler's name of one slice; one device is the first of the smallest slice."""
        shape = self.shape or _SMALL[len(self.chip.largest)][0]
        return f"{self.chip.name}:{'x'.join(map(str, shape))}"

    def __str__(self):
        text = self.chip.name if self.shape is None else self.topology
        return f"{self.slices} slices of {text}" if self.slices > 1 else text


def target(text: str, slices: int = 1) -> Target:
    """`"v5e"` for one device, `"v5e:16x16"` for a slice in chips; `slices` of them, joined by the slower network.

    Raises:
      LabError: unknown chip, a slice that nobody can rent, slices < 1; the message lists what there is.
    """
    name, _, rest = text.partition(":")
    if name not in CHIPS:
        raise LabError(f"target must name a chip, one of {', '.join(CHIPS)}, or a GPU, got {text!r}.")
    if slices < 1 or (slices > 1 and not rest):
        raise LabError(f"slices must be >= 1, and 1 for a single device, got {slices} of {text!r}.")
    chip = CHIPS[name]
    if not rest:
        return Target(chip)
    shape = tuple(int(size) for size in rest.split("x") if size.isdecimal())
    if "x".join(map(str, shape)) != rest or not _exists(chip, shape):
        known = slices_of(name)
        shown = known if len(known) < 12 else [*known[:8], "...", known[-1]]
        raise LabError(f"target {text!r} is not a slice of {name}; there are {', '.join(shown)}.")
    return Target(chip, shape, slices)


def _exists(chip, shape):
    if len(shape) != len(chip.largest):
        return False
    if shape in _SMALL[len(shape)]:
        return True
    fits = all(size <= most for size, most in zip(shape, chip.largest, strict=True))
    return len(shape) == 3 and fits and list(shape) == sorted(shape) and all(size % 4 == 0 for size in shape)


def slices_of(name: str) -> list[str]:
    """Names of every slice of a chip, from the smallest; above 64 chips in whole cubes of 4x4x4 for those with three
    axes."""
    chip = CHIPS[name]
    found = set(_SMALL[len(chip.largest)])
    if len(chip.largest) == 3:
        found |= {s for s in itertools.product(*(range(4, most + 1, 4) for most in chip.largest)) if _exists(chip, s)}
    return [f"{name}:{'x'.join(map(str, s))}" for s in sorted(found, key=lambda s: (math.prod(s), s))]
