"""Random graphs that look like molecules, with labels that pools tell with different ease: a stand-in for rehearsals.

A molecule has 20 to 60 atoms: a chain-like tree of carbons, closed to up to three rings of five or six, with three or
five oxygens bound twice, up to three bound once and two to four nitrogens at its carbons, all numbers independent of
each other and of the size. Tasks, in turn:
  many   five oxygens are bound twice, not three. A sum counts them; a mean has their share, and five of 60 atoms are
         fewer than three of 20. No part is as often in every molecule, to tell the size by.
  bound  two of the nitrogens are bound to each other: one bond, on which a mean depends as much less as there are more
         atoms, and a maximum does not.
A tenth of the labels is not known.
"""

from __future__ import annotations

import numpy as np

from experiments.data.molecules import SPLITS, Molecules

__all__ = ["make"]

_CARBON, _NITROGEN, _OXYGEN = 5, 6, 7  # indices of elements, from hydrogen
_NEUTRAL = 5  # index of a charge


def make(count: int, tasks: int) -> dict[str, Molecules]:
    """So many molecules, eight tenths for training, one tenth each for the other splits, from fixed seeds."""
    held_out = count // 10
    sizes = (count - 2 * held_out, held_out, held_out)
    return {
        split: _split(np.random.default_rng(number), size, tasks)
        for number, (split, size) in enumerate(zip(SPLITS, sizes, strict=True))
    }


def _split(rng: np.random.Generator, count: int, tasks: int) -> Molecules:
    made = [_molecule(rng) for _ in range(count)]
    atoms, bonds, ends, truths = zip(*made, strict=True)
    labels = np.array(truths, np.uint8)[:, np.arange(tasks) % 2]
    known = rng.random(labels.shape) < 0.9
    return Molecules(
        np.concatenate(atoms), np.concatenate(bonds), np.concatenate(ends),
        *(np.array([len(one) for one in parts], np.int32) for parts in (atoms, bonds)),
        np.where(known, labels, 0), known,
    )  # fmt: skip


def _molecule(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """Atoms, bonds, their ends, and the two labels."""
    size, many, once, nitrogens, rings, bound = rng.integers([20, 0, 0, 2, 0, 0], [61, 2, 4, 5, 4, 2]).tolist()
    twice = 5 if many else 3
    carbons = size - twice - once - nitrogens
    degree, parent, ends, kinds = np.zeros(size, np.int64), {}, [], []

    def bind(one: int, other: int, kind: int = 0) -> None:
        degree[[one, other]] += 1
        ends.append((one, other))
        kinds.append(kind)

    def free() -> int:
        """A random carbon with a bond to spare, of four."""
        return int(rng.choice(np.flatnonzero(degree[:carbons] < 4)))

    for atom in range(1, carbons):
        near = np.arange(max(0, atom - 3), atom)
        parent[atom] = int(rng.choice(near[degree[near] < 3]))
        bind(parent[atom], atom)
    for _ in range(rings):
        one = other = int(rng.integers(carbons))
        for _ in range(int(rng.integers(4, 6))):
            other = parent.get(other, -1)
        if other >= 0 and max(degree[one], degree[other]) < 3 and (other, one) not in ends:
            bind(other, one)
    for number in range(twice + once):
        bind(free(), carbons + number, int(number < twice))
    first = carbons + twice + once
    for number in range(nitrogens):
        bind(first if bound and number == 1 else free(), first + number)
    atoms = np.zeros((size, 9), np.uint8)
    atoms[:, 0] = [_CARBON] * carbons + [_OXYGEN] * (twice + once) + [_NITROGEN] * nitrogens
    atoms[:, 3] = _NEUTRAL
    bonds = np.zeros((len(ends), 3), np.uint8)
    bonds[:, 0] = kinds
    place = rng.permutation(size)  # nothing is to be told from the order of atoms
    shuffled = np.empty_like(atoms)
    shuffled[place] = atoms
    return shuffled, bonds, place[np.array(ends)].astype(np.int32), (many, bound)
