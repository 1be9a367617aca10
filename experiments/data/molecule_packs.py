"""Molecules side by side in packs of one size: so many atoms, bonds and molecules at most, padding behind masks.

Molecules are dealt, the largest first, each to the pack that has the fewest atoms and room for it. So all packs have
about as many atoms, of large and small molecules alike, and none is left out. Who is with whom is at random; several
packings of the same molecules vary it.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from experiments.data.fetch import DataError
from experiments.data.molecules import ATOM_LEVELS, BOND_LEVELS, Molecules

__all__ = ["Packs", "Room", "fill", "like", "pack"]


class Room(NamedTuple):
    """What a pack can hold: atoms, bonds, molecules."""

    atoms: int
    bonds: int
    molecules: int


class Packs(NamedTuple):
    """P packs with room for M atoms, E bonds and G molecules; T tasks.

    Attributes:
      atoms: `[P, M, 9]` uint8; those of a molecule lie together.
      bonds: `[P, E, 3]` uint8, each once.
      ends: `[P, E, 2]` int16, atoms of the pack.
      of: `[P, M]` int16, molecule of each atom, in [0, G).
      is_atom, is_bond: `[P, M]` and `[P, E]` bool, False in padding.
      labels: `[P, G, T]` uint8.
      known: `[P, G, T]` bool, False in padding.
    """

    atoms: np.ndarray
    bonds: np.ndarray
    ends: np.ndarray
    of: np.ndarray
    is_atom: np.ndarray
    is_bond: np.ndarray
    labels: np.ndarray
    known: np.ndarray


def _shapes(packs: int, room: Room, tasks: int) -> Packs:
    """Shape and dtype of every field."""
    return Packs(
        ((packs, room.atoms, len(ATOM_LEVELS)), np.uint8), ((packs, room.bonds, len(BOND_LEVELS)), np.uint8),
        ((packs, room.bonds, 2), np.int16), ((packs, room.atoms), np.int16), ((packs, room.atoms), np.bool_),
        ((packs, room.bonds), np.bool_), ((packs, room.molecules, tasks), np.uint8),
        ((packs, room.molecules, tasks), np.bool_),
    )  # fmt: skip


def like(packs: int, room: Room, tasks: int) -> Packs:
    """`Packs` of shapes alone."""
    import jax

    return Packs(*(jax.ShapeDtypeStruct(*of) for of in _shapes(packs, room, tasks)))


def pack(molecules: Molecules, packs: int, room: Room, *, seed: int, name: str = "molecules") -> Packs:
    """All molecules in exactly so many packs.

    Args:
      packs: P, at least 1.
      seed: of the order among molecules of as many atoms.
      name: of the molecules, for errors.

    Raises:
      DataError: a molecule is larger than a pack, or there is no room for one; it says how much is needed.
    """
    if max(room) > np.iinfo(np.int16).max:
        raise DataError(f"packs: atoms, bonds and molecules must be at most 32,767 a pack, got {tuple(room)}.")
    home = _deal(molecules, packs, room, seed, name)
    order = np.argsort(home, kind="stable")  # molecules by pack
    held = np.bincount(home, minlength=packs)
    place = np.empty(len(home), np.int64)  # of each molecule in its pack
    place[order] = np.arange(len(home)) - np.repeat(np.cumsum(held) - held, held)
    atoms, first = _slots(home, order, molecules.num_atoms, packs)
    bonds, _ = _slots(home, order, molecules.num_bonds, packs)
    of_atom, of_bond = (np.repeat(np.arange(len(home)), count) for count in (molecules.num_atoms, molecules.num_bonds))
    made = Packs(*(np.zeros(*of) for of in _shapes(packs, room, molecules.labels.shape[1])))
    atoms, bonds = (home[of_atom], atoms), (home[of_bond], bonds)
    made.atoms[atoms], made.of[atoms], made.is_atom[atoms] = molecules.atoms, place[of_atom], True
    made.bonds[bonds], made.is_bond[bonds] = molecules.bonds, True
    made.ends[bonds] = molecules.ends + first[of_bond][:, None]
    made.labels[home, place], made.known[home, place] = molecules.labels, molecules.known
    return made


def fill(packs: Packs) -> Room:
    """Shares of the room that are taken, in [0, 1]; molecules are those with a known label."""
    return Room(packs.is_atom.mean(), packs.is_bond.mean(), packs.known.any(axis=2).mean())


def _deal(molecules: Molecules, packs: int, room: Room, seed: int, name: str) -> np.ndarray:
    """The pack of each molecule."""
    sizes = np.stack([molecules.num_atoms, molecules.num_bonds, np.ones_like(molecules.num_atoms)], axis=1)
    if (sizes > np.array(room)).any():
        largest = Room(*sizes.max(axis=0).tolist())
        raise DataError(
            f"{name}: a pack must have room for the largest molecule, {largest.atoms} atoms and {largest.bonds} "
            f"bonds, got room for {room.atoms} and {room.bonds}."
        )
    mixed = np.random.default_rng(seed).permutation(len(sizes))
    order = mixed[np.argsort(-sizes[mixed, 0], kind="stable")]
    home, left = np.empty(len(sizes), np.int64), np.tile(np.array(room), (packs, 1))
    heap = [(0, number) for number in range(packs)]  # atoms so far, pack
    for molecule, size in zip(order.tolist(), sizes[order], strict=True):
        passed = []
        while heap and (size > left[heap[0][1]]).any():
            passed.append(heapq.heappop(heap))
        if not heap:
            total = Room(*sizes.sum(axis=0).tolist())
            raise DataError(
                f"{name}: {total.molecules:,} molecules with {total.atoms:,} atoms and {total.bonds:,} bonds do not "
                f"fit {packs:,} packs of {room.molecules}, {room.atoms} and {room.bonds}; about "
                f"{int(np.ceil(1.25 * max(np.array(total) / np.array(room)))):,} packs would do."
            )
        atoms, number = heapq.heappop(heap)
        home[molecule] = number
        left[number] -= size
        for entry in [*passed, (atoms + int(size[0]), number)]:
            heapq.heappush(heap, entry)
    return home


def _slots(home: np.ndarray, order: np.ndarray, counts: np.ndarray, packs: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows in their packs of what molecules have so many of, and the first row of each molecule."""
    taken = counts[order].astype(np.int64)
    before = np.cumsum(taken) - taken
    total = np.bincount(home[order], weights=taken, minlength=packs).astype(np.int64)
    first = np.empty(len(home), np.int64)
    first[order] = before - (np.cumsum(total) - total)[home[order]]
    start = np.cumsum(counts, dtype=np.int64) - counts
    return np.arange(counts.sum(dtype=np.int64)) - np.repeat(start - first, counts), first
