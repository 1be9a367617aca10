"""Molecules as graphs with labels, from a folder as the Open Graph Benchmark hands them out: ogbg-molhiv, ogbg-molpcba.

FOLDER/raw holds `node-feat`, `edge`, `edge-feat`, `num-node-list`, `num-edge-list` and `graph-label`, each `.csv.gz`
without a header, all molecules one after the other and every bond once; FOLDER/split/scaffold holds `train`, `valid`
and `test.csv.gz`, numbers of molecules. Nothing is downloaded: users accept its terms for themselves. What has been
read once is kept as arrays in the cache, by the hash of the files.
Source: `hu-ogb:20`, with the released reader.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data import fetch
from experiments.data.fetch import DataError
from experiments.lib import files

__all__ = ["ATOM_LEVELS", "BOND_LEVELS", "SPLITS", "Molecules", "load", "read", "select"]

SPLITS = ("train", "valid", "test")
#: Values of each feature, from 0: of an atom its element, chirality, degree, charge, hydrogens, radical electrons,
#: hybridisation, whether aromatic, whether in a ring; of a bond its type, stereo configuration, whether conjugated.
ATOM_LEVELS = (119, 5, 12, 12, 10, 6, 6, 2, 2)
BOND_LEVELS = (5, 6, 2)

_RAW = ("node-feat", "edge", "edge-feat", "num-node-list", "num-edge-list", "graph-label")


class Molecules(NamedTuple):
    """G molecules one after the other, with N atoms and E bonds in all, and T tasks.

    Attributes:
      atoms: `[N, 9]` uint8, below `ATOM_LEVELS`.
      bonds: `[E, 3]` uint8, below `BOND_LEVELS`.
      ends: `[E, 2]` int32, the two atoms of a bond among those of its molecule, from 0; every bond once, no loops.
      num_atoms, num_bonds: `[G]` int32 of each molecule.
      labels: `[G, T]` uint8, 0 or 1.
      known: `[G, T]` bool, which labels are; the others stand at 0.
    """

    atoms: np.ndarray
    bonds: np.ndarray
    ends: np.ndarray
    num_atoms: np.ndarray
    num_bonds: np.ndarray
    labels: np.ndarray
    known: np.ndarray


def load(source: str | Path, *, molecules: int, tasks: int) -> dict[str, Molecules]:
    """All `SPLITS` of a folder, or of "synthetic".

    Args:
      molecules: how many there must be in all splits together, or are made.
      tasks: how many labels a molecule must have.

    Raises:
      DataError: files are missing or are not what they should be, or there are other numbers of them.
    """
    if source == "synthetic":
        from experiments.data import molecule_stand_in

        found = molecule_stand_in.make(molecules, tasks)
    else:
        found = read(source)
    for name, wanted, given in (
        ("molecules", molecules, sum(len(part.num_atoms) for part in found.values())),
        ("labels for a molecule", tasks, found["train"].labels.shape[1]),
    ):
        if given != wanted:
            raise DataError(f"molecules: {source} must have {wanted:,} {name}, found {given:,}.")
    for split, part in found.items():
        both = (part.known & (part.labels == 1)).any(axis=0) & (part.known & (part.labels == 0)).any(axis=0)
        if not both.any():
            raise DataError(f"molecules: {split} of {source} must have a task with labels of both classes, found none.")
    return found


def read(folder: str | Path) -> dict[str, Molecules]:
    """The splits of a folder. Raises DataError, naming the file, where one is missing or not what it should be."""
    folder = Path(folder).expanduser()
    names = [f"raw/{name}" for name in _RAW] + [f"split/scaffold/{name}" for name in SPLITS]
    packed, digest = {}, hashlib.sha256()
    for name in names:
        path = folder / f"{name}.csv.gz"
        try:
            packed[path] = path.read_bytes()
        except OSError as error:
            raise DataError(f"molecules: {path} cannot be read ({error.strerror or error}).") from error
        digest.update(hashlib.sha256(packed[path]).digest())
    kept = fetch.cache_folder("molecules") / f"{digest.hexdigest()[:32]}.npz"
    try:
        arrays = files.read_npz(kept)
    except FileNotFoundError:
        arrays = _parsed(packed)
        _keep(kept, arrays)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"molecules: {kept} cannot be read ({error}); delete it, and it is made anew.") from error
    everything = Molecules(*(arrays[field] for field in Molecules._fields))
    return {split: select(everything, arrays[split]) for split in SPLITS}


def select(molecules: Molecules, chosen: np.ndarray) -> Molecules:
    """Some of the molecules, in the order in which they are chosen."""
    atoms, bonds = (_rows(count, chosen) for count in (molecules.num_atoms, molecules.num_bonds))
    return Molecules(
        molecules.atoms[atoms], molecules.bonds[bonds], molecules.ends[bonds],
        *(leaf[chosen] for leaf in molecules[3:]),
    )  # fmt: skip


def _rows(counts: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Rows of what belongs to the chosen molecules, where each has so many, one after the other."""
    first = np.cumsum(counts, dtype=np.int64) - counts
    taken = counts[chosen].astype(np.int64)
    return np.repeat(first[chosen] - (np.cumsum(taken) - taken), taken) + np.arange(taken.sum())


def _keep(path: Path, arrays: dict[str, np.ndarray]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, files.npz_bytes(arrays))
    except OSError as error:
        size = fetch.megabytes(sum(array.nbytes for array in arrays.values()))
        raise DataError(
            f"molecules: cannot write to {path.parent} ({error.strerror or error}); make about {size} of room there, "
            "or set XDG_CACHE_HOME to another folder."
        ) from error


def _parsed(packed: dict[Path, bytes]) -> dict[str, np.ndarray]:
    """The checked arrays of `Molecules`, and the molecules of each split, int32."""
    paths = dict(zip((*_RAW, *SPLITS), packed, strict=True))

    def table(name, columns, low, high):
        """Whole numbers `[n, columns]` within inclusive limits."""
        found = _numbers(paths[name], packed[paths[name]], np.int32)
        wanted = columns or found.shape[1]
        if found.shape[1] != wanted or (found < low).any() or (found > np.array(high)).any():
            limits = f"{low}..{high}" if np.ndim(high) == 0 else f"0 to below {', '.join(str(h + 1) for h in high)}"
            raise DataError(
                f"molecules: {paths[name]} must hold {wanted} whole numbers a row, {limits}, found {found.shape[1]} "
                f"from {found.min()} to {found.max()}."
            )
        return found

    most = np.iinfo(np.int32).max
    num_atoms = table("num-node-list", 1, 1, most)[:, 0]
    num_bonds = table("num-edge-list", 1, 0, most)[:, 0]
    atoms = table("node-feat", len(ATOM_LEVELS), 0, np.array(ATOM_LEVELS) - 1)
    bonds = table("edge-feat", len(BOND_LEVELS), 0, np.array(BOND_LEVELS) - 1)
    ends = table("edge", 2, 0, most)
    labels = _numbers(paths["graph-label"], packed[paths["graph-label"]], np.float32)
    parts = {split: table(split, 1, 0, len(num_atoms) - 1)[:, 0] for split in SPLITS}
    for name, wanted, array in (
        ("num-edge-list", len(num_atoms), num_bonds), ("graph-label", len(num_atoms), labels),
        ("node-feat", num_atoms.sum(dtype=np.int64), atoms), ("edge-feat", num_bonds.sum(dtype=np.int64), bonds),
        ("edge", num_bonds.sum(dtype=np.int64), ends),
    ):  # fmt: skip
        if len(array) != wanted:
            raise DataError(f"molecules: {paths[name]} must have {wanted:,} rows, found {len(array):,}.")
    _check_bonds(paths["edge"], ends, num_atoms, num_bonds)
    known = ~np.isnan(labels)
    if not np.isin(labels[known], (0, 1)).all():
        raise DataError(f"molecules: {paths['graph-label']} must hold 0, 1 or nothing.")
    chosen = np.concatenate(list(parts.values()))
    if len(np.unique(chosen)) != len(chosen):
        raise DataError(f"molecules: {paths['train'].parent} must name every molecule once.")
    arrays = Molecules(
        atoms.astype(np.uint8), bonds.astype(np.uint8), ends, num_atoms, num_bonds,
        np.where(known, labels, 0).astype(np.uint8), known,
    )  # fmt: skip
    return arrays._asdict() | parts


def _numbers(path: Path, packed: bytes, dtype) -> np.ndarray:
    """The numbers of a table `[n, columns]`, NaN where nothing stands."""
    try:
        text = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"molecules: {path} cannot be read ({error}).") from error
    if not text.strip():
        raise DataError(f"molecules: {path} is empty.")
    if np.issubdtype(dtype, np.floating):
        text = re.sub(rb"(?m)(^|,)(?=,|\r?$)", rb"\1nan", text.removesuffix(b"\n").removesuffix(b"\r"))
    try:
        return np.loadtxt(io.StringIO(text.decode()), delimiter=",", dtype=dtype, ndmin=2)
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"molecules: {path} must hold rows of numbers ({error}).") from error


def _check_bonds(path: Path, ends: np.ndarray, num_atoms: np.ndarray, num_bonds: np.ndarray) -> None:
    of = np.repeat(np.arange(len(num_atoms)), num_bonds)
    outside = (ends >= num_atoms[of][:, None]).any(axis=1)
    pair = np.stack([of, ends.min(axis=1), ends.max(axis=1)])
    repeated = np.ones(len(of), bool)
    repeated[np.unique(pair, axis=1, return_index=True)[1]] = False
    for bad, allowed in (
        (outside, "join atoms of its molecule"),
        (ends[:, 0] == ends[:, 1], "join two atoms"),
        (repeated, "hold every bond once"),
    ):
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"molecules: {path} must {allowed}, found {tuple(ends[row].tolist())} in row {row:,} of molecule "
                f"{of[row]:,}."
            )
