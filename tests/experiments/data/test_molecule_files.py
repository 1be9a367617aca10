"""Molecules from a folder as the Open Graph Benchmark's: what is read is what lies there, what is wrong is told."""

import gzip

import numpy as np
import pytest

from experiments.data import fetch, molecule_stand_in, molecules
from experiments.data.fetch import DataError

RAW = {
    "node-feat": "5,0,4,5,3,0,2,0,0\n7,0,2,5,1,0,2,0,0\n6,0,3,5,2,0,2,0,0\n5,0,2,5,0,0,1,0,0\n6,0,1,5,0,0,0,0,0\n",
    "edge": "0,1\n1,0\n",
    "edge-feat": "0,0,0\n2,0,0\n",
    "num-node-list": "2\n1\n2\n",
    "num-edge-list": "1\n0\n1\n",
    "graph-label": "1.0,,0\n,,\n0,1,\n",
}
SPLIT = {"train": "2\n", "valid": "1\n", "test": "0\n"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(folder, **changed):
    """A folder of three molecules; `changed` replaces a file's text by its name, with _ for -; None leaves it out."""
    changed = {name.replace("_", "-"): text for name, text in changed.items()}
    for place, texts in (("raw", RAW), ("split/scaffold", SPLIT)):
        (folder / place).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            text = changed.get(name, text)
            if text is not None:
                (folder / place / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def test_a_folder_is_read_once(tmp_path, monkeypatch):
    folder = write(tmp_path / "ogb")
    found = molecules.read(folder)
    last = found["train"]
    np.testing.assert_array_equal(last.atoms[:, 0], [5, 6])
    np.testing.assert_array_equal(last.bonds, [[2, 0, 0]])
    np.testing.assert_array_equal(last.ends, [[1, 0]])
    np.testing.assert_array_equal(last.labels, [[0, 1, 0]])
    np.testing.assert_array_equal(last.known, [[True, True, False]])
    assert found["valid"].num_atoms.tolist() == [1]
    assert found["valid"].ends.shape == (0, 2)
    assert not found["valid"].known.any()
    np.testing.assert_array_equal(found["test"].known, [[True, False, True]])

    def refuse(*_, **__):
        raise AssertionError("parsed again")

    monkeypatch.setattr(np, "loadtxt", refuse)
    again = molecules.read(folder)
    for split in molecules.SPLITS:
        for one, other in zip(found[split], again[split], strict=True):
            np.testing.assert_array_equal(one, other)
    write(tmp_path / "ogb", graph_label="1,1,1\n" * 3)
    with pytest.raises(AssertionError, match="parsed again"):
        molecules.read(folder)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"edge_feat": None}, r"edge-feat\.csv\.gz cannot be read \(No such file"),
        ({"valid": None}, r"valid\.csv\.gz cannot be read"),
        ({"node_feat": "5,0\n" * 5}, r"node-feat\.csv\.gz must hold 9 whole numbers a row, .* found 2 from 0 to 5"),
        ({"node_feat": "119,0,0,0,0,0,0,0,0\n" * 5}, r"0 to below 119, 5, 12, .* found 9 from 0 to 119"),
        ({"edge_feat": "0,0,0\n1.5,0,0\n"}, r"edge-feat\.csv\.gz must hold rows of numbers \("),
        ({"num_node_list": "2\n1\n3\n"}, r"node-feat\.csv\.gz must have 6 rows, found 5"),
        ({"num_edge_list": "1\n1\n"}, r"num-edge-list\.csv\.gz must have 3 rows, found 2"),
        ({"graph_label": "1\n0\n"}, r"graph-label\.csv\.gz must have 3 rows, found 2"),
        ({"graph_label": "1\n0\n2\n"}, r"graph-label\.csv\.gz must hold 0, 1 or nothing"),
        ({"edge": "0,1\n1,2\n"}, r"must join atoms of its molecule, found \(1, 2\) in row 1 of molecule 2"),
        ({"edge": "0,1\n1,1\n"}, r"must join two atoms, found \(1, 1\) in row 1 of molecule 2"),
        (
            {"edge": "0,1\n0,1\n1,0\n", "edge_feat": "0,0,0\n" * 3, "num_edge_list": "1\n0\n2\n"},
            r"must hold every bond once, found \(1, 0\) in row 2 of molecule 2",
        ),
        ({"valid": "3\n"}, r"valid\.csv\.gz must hold 1 whole numbers a row, 0\.\.2, found 1 from 3 to 3"),
        ({"valid": "2\n"}, r"split/scaffold must name every molecule once"),
        ({"train": ""}, r"train\.csv\.gz is empty"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, changed, says):
    with pytest.raises(DataError, match=says):
        molecules.read(write(tmp_path / "ogb", **changed))


def test_a_broken_archive_and_a_broken_cache_are_told(tmp_path):
    folder = write(tmp_path / "ogb")
    molecules.read(folder)
    (kept,) = fetch.cache_folder("molecules").iterdir()
    kept.write_bytes(b"no arrays")
    with pytest.raises(DataError, match=r"\.npz cannot be read .*; delete it"):
        molecules.read(folder)
    (folder / "raw" / "edge.csv.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"edge\.csv\.gz cannot be read"):
        molecules.read(folder)


def test_numbers_of_molecules_tasks_and_classes_are_asked_for(tmp_path):
    folder = write(tmp_path / "ogb")
    for options, says in (
        ({"molecules": 4, "tasks": 3}, "must have 4 molecules, found 3"),
        ({"molecules": 3, "tasks": 1}, "must have 1 labels for a molecule, found 3"),
        ({"molecules": 3, "tasks": 3}, r"train of .* must have a task with labels of both classes, found none"),
    ):
        with pytest.raises(DataError, match=says):
            molecules.load(folder, **options)


def test_the_stand_in_is_sound_and_its_labels_are_of_its_structure():
    made = molecule_stand_in.make(200, 3)
    assert [len(made[split].num_atoms) for split in molecules.SPLITS] == [160, 20, 20]
    for part in made.values():
        assert (part.atoms < np.array(molecules.ATOM_LEVELS)).all()
        assert (part.bonds < np.array(molecules.BOND_LEVELS)).all()
        molecules._check_bonds("stand-in", part.ends, part.num_atoms, part.num_bonds)
        of = np.repeat(np.arange(len(part.num_bonds)), part.num_bonds)
        first = np.cumsum(part.num_atoms) - part.num_atoms
        elements = part.atoms[part.ends + first[of][:, None]][:, :, 0]
        twice = np.bincount(of, part.bonds[:, 0] == 1, len(part.num_bonds))
        bound = np.bincount(of, (elements == 6).all(axis=1), len(part.num_bonds)) > 0
        truth = np.stack([twice == 5, bound, twice == 5], axis=1)
        np.testing.assert_array_equal(part.labels, truth & part.known)
        assert set(twice) == {3, 5}
        assert not part.known.all()
    # Sizes tell nothing: their means in both classes differ by less than five deviations of 13 / sqrt(80) each.
    many = made["train"].labels[:, 0] == 1
    sizes = made["train"].num_atoms
    assert abs(sizes[many].mean() - sizes[~many].mean()) < 5 * 13 * (2 / 70) ** 0.5
