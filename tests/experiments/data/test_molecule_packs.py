"""Packs: every molecule lies in one of them, whole; all are about equally full; what does not fit is told."""

import numpy as np
import pytest

from experiments.data import molecule_packs, molecule_stand_in
from experiments.data.fetch import DataError

ROOM = molecule_packs.Room(256, 256, 16)


@pytest.fixture(scope="module")
def train():
    return molecule_stand_in.make(150, 2)["train"]


def unpacked(packs):
    """Every molecule as a text that tells all about it."""
    found = []
    for atoms, bonds, ends, of, is_atom, is_bond, labels, known in zip(*packs, strict=True):
        for molecule in range(len(labels)):
            rows = np.flatnonzero(is_atom & (of == molecule))
            if len(rows):
                assert (np.diff(rows) == 1).all()
                own = is_bond & np.isin(ends[:, 0], rows)
                assert np.isin(ends[own], rows).all()
                found.append(str((atoms[rows].tolist(), bonds[own].tolist(), (ends[own] - rows[0]).tolist(),
                                  labels[molecule].tolist(), known[molecule].tolist())))  # fmt: skip
        assert is_bond.sum() == sum(np.isin(ends[is_bond][:, 0], np.flatnonzero(is_atom)))
    return found


def originals(part):
    atoms, bonds = np.cumsum(part.num_atoms), np.cumsum(part.num_bonds)
    return [
        str((part.atoms[a - n : a].tolist(), part.bonds[b - e : b].tolist(), part.ends[b - e : b].tolist(),
             part.labels[g].tolist(), part.known[g].tolist()))
        for g, (a, n, b, e) in enumerate(zip(atoms, part.num_atoms, bonds, part.num_bonds, strict=True))
    ]  # fmt: skip


def test_every_molecule_is_in_one_pack_and_whole(train):
    packs = molecule_packs.pack(train, 24, ROOM, seed=0)
    assert sorted(unpacked(packs)) == sorted(originals(train))
    like = molecule_packs.like(24, ROOM, 2)
    assert [(leaf.shape, leaf.dtype) for leaf in packs] == [(leaf.shape, leaf.dtype) for leaf in like]
    for leaf, mask in ((packs.atoms, packs.is_atom), (packs.bonds, packs.is_bond), (packs.ends, packs.is_bond)):
        assert not leaf[~mask].any()


def test_packs_are_about_equally_full_and_company_varies(train):
    one, other = (molecule_packs.pack(train, 24, ROOM, seed=seed) for seed in (0, 1))
    atoms = one.is_atom.sum(axis=1)
    assert atoms.max() - atoms.min() <= train.num_atoms.max()
    assert molecule_packs.fill(one).atoms == pytest.approx(train.num_atoms.sum() / (24 * 256))
    assert sorted(unpacked(one)) == sorted(unpacked(other))
    assert unpacked(one[:]) != unpacked(other[:])
    again = molecule_packs.pack(train, 24, ROOM, seed=0)
    assert all((a == b).all() for a, b in zip(one, again, strict=True))


def test_a_few_packs_may_stay_empty(train):
    packs = molecule_packs.pack(train, 200, ROOM, seed=0)
    assert packs.is_atom.any(axis=1).sum() == len(train.num_atoms)


@pytest.mark.parametrize(
    ("packs", "room", "says"),
    [
        (
            24,
            (50, 256, 16),
            r"here: a pack must have room for the largest molecule, \d+ atoms and \d+ bonds, got room ",
        ),
        (24, (256, 50, 16), r"got room for 256 and 50"),
        (12, (256, 256, 16), r"here: 120 molecules with .* do not fit 12 packs of 16, 256 and 256; about \d+ packs"),
        (24, (256, 256, 4), r"do not fit 24 packs of 4, 256 and 256; about 38 packs would do"),
        (24, (40_000, 256, 16), r"must be at most 32,767 a pack, got \(40000, 256, 16\)"),
    ],
)
def test_what_does_not_fit_is_told(train, packs, room, says):
    with pytest.raises(DataError, match=says):
        molecule_packs.pack(train, packs, molecule_packs.Room(*room), seed=0, name="here")
