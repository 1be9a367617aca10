"""Files are whole or absent; their bytes depend on their content."""

import io
import zipfile

import numpy as np
import pytest

from experiments.lib import files, journal


def test_npz_bytes_depend_on_content_alone():
    a, b = np.arange(6.0).reshape(2, 3), np.asarray(["young", "male"])
    first = files.npz_bytes({"curve": a, "label": b})
    assert first == files.npz_bytes({"label": b.copy(), "curve": np.asfortranarray(a)})
    assert first != files.npz_bytes({"curve": a + 1, "label": b})
    assert {entry.date_time for entry in zipfile.ZipFile(io.BytesIO(first)).infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_npz_round_trip_keeps_shapes_and_dtypes(tmp_path):
    arrays = {"scalar": np.float32(3), "empty": np.zeros((0, 4)), "run/loss": np.ones((2, 2), np.int8)}
    arrays["name"] = np.asarray("x")
    files.replace(tmp_path / "a.npz", files.npz_bytes(arrays))
    found = files.read_npz(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_npz_refuses_pickles():
    with pytest.raises(ValueError, match="allow_pickle=False"):
        files.npz_bytes({"x": np.asarray([{}], object)})


def test_json_refuses_nan():
    with pytest.raises(ValueError, match="JSON compliant"):
        files.json_text({"x": float("nan")})


@pytest.mark.parametrize("broken", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, broken):
    path = tmp_path / "a.txt"
    files.replace(path, "old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    if broken == "write":
        real = open

        def opened(name, mode="r", *rest):
            file = real(name, mode, *rest)
            return file if "w" not in mode else _Full(file)

        class _Full:
            def __init__(self, file):
                self.file = file

            def __enter__(self):
                return self

            def __exit__(self, *_):
                self.file.close()

            def write(self, content):
                self.file.write(content[:1])
                fail()

        monkeypatch.setattr("builtins.open", opened)
    else:
        monkeypatch.setattr(files.os, broken, fail)
    with pytest.raises(OSError, match="No space"):
        files.replace(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def _rows(count):
    rng = np.random.default_rng(0)
    return [
        journal.Row(4 * i, {"loss": rng.normal(size=3).astype(np.float32), "regret": rng.normal(size=(3, 2))})
        for i in range(1, count + 1)
    ]


def test_every_prefix_of_a_journal_holds_its_whole_rows(tmp_path):
    path = tmp_path / "rows"
    writer, ends = journal.Journal(path), [0]
    for row in _rows(3):
        writer.append(row)
        ends.append(path.stat().st_size)
    content = path.read_bytes()
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        assert len(journal.read_rows(path)) == sum(end <= length for end in ends) - 1


def test_a_damaged_row_ends_the_journal(tmp_path):
    path = tmp_path / "rows"
    for row in _rows(3):
        journal.Journal(path).append(row)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert [row.step for row in journal.read_rows(path)] == [4, 8]


def test_rewinding_cuts_later_rows_and_a_torn_end(tmp_path):
    path, rows = tmp_path / "rows", _rows(4)
    writer = journal.Journal(path)
    for row in rows:
        writer.append(row)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"step": 20, "layout"')
    assert [row.step for row in writer.rewind(8)] == [4, 8]
    for row in rows[2:]:
        writer.append(row)
    assert path.read_bytes() == whole
    assert writer.rewind(0) == []
    assert path.read_bytes() == b""


def test_stacked_rows_are_curves():
    curves = journal.stack(_rows(4))
    assert curves["step"].tolist() == [4, 8, 12, 16]
    assert curves["loss"].shape == (4, 3)
    assert curves["loss"].dtype == np.float32
    assert curves["regret"].shape == (4, 3, 2)
    assert journal.stack([])["step"].shape == (0,)
