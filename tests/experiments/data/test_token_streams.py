"""The standard library as text, and users' files."""

import hashlib

import numpy as np
import pytest

from experiments.data import pylib, token_files
from experiments.data.fetch import DataError


@pytest.fixture(scope="module")
def library():
    return pylib.load()


def test_two_domains_in_documents(library):
    assert library.domains == ("code", "prose")
    assert library.validation.shape == (2, 200_000)
    assert library.tokens.dtype == library.validation.dtype == np.uint8
    ends = np.append(library.starts[1:], len(library.tokens)) - 1
    assert library.starts[0] == 0
    assert (np.diff(library.starts) > 0).all()
    # Every document ends with the byte that none contains, but for the one of each domain that is cut for validation.
    closed = library.tokens[ends] == 0
    assert (~closed).sum() <= 2
    assert (library.tokens == 0).sum() == closed.sum()
    sizes = np.bincount(library.label, ends + 1 - library.starts)
    assert sizes[0] > 5_000_000
    assert sizes[1] > 200_000


def test_documents_are_files_in_the_order_of_their_names(library):
    code, prose = pylib.documents()
    streams = [b"\0".join([*texts, b""]) for texts in (code, prose)]
    assert library.sha256 == hashlib.sha256(b"".join(streams)).hexdigest()
    for number, stream in enumerate(streams):
        assert bytes(library.validation[number]) == stream[-200_000:]
        ends = np.append(library.starts[1:], len(library.tokens))
        mine = [
            bytes(library.tokens[a:b])
            for a, b, label in zip(library.starts, ends, library.label, strict=True)
            if label == number
        ]
        assert b"".join(mine) == stream[:-200_000]
    assert not any(b"topics = {" in text[:400] for text in code)  # the prose is not in the code as well


def test_domains_are_spread_evenly(library):
    """In every fifth of the stream there is a fifth of the prose, up to a document."""
    prose = np.repeat(library.label, np.diff(library.starts, append=len(library.tokens)))
    shares = [part.sum() / prose.sum() for part in np.array_split(prose, 5)]
    assert max(shares) < 0.4
    assert min(shares) > 0.05


def test_what_is_skipped(tmp_path):
    for name in ("a.py", "b/c.py", "test/x.py", "b/tests/y.py", "site-packages/z.py", "_sysconfigdata_x.py", "d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert pylib.documents(tmp_path)[0] == [b"a.py", b"b/c.py"]


def test_too_little_text_is_refused():
    with pytest.raises(DataError, match="pylib: prose must have at least 16 bytes, found 4"):
        pylib.corpus([[b"x" * 40], [b"abc"]], validation=8)


def write(path, array):
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        array.tofile(path)
    return path


TOKENS = np.arange(100, dtype=np.uint16) % 50


@pytest.mark.parametrize("name", ["t.npy", "t.bin", "t.txt"])
def test_files_are_mapped_and_split(tmp_path, name):
    tokens = TOKENS.astype(np.uint8) if name == "t.txt" else TOKENS
    path = write(tmp_path / name, tokens)
    found = token_files.read(path, vocabulary=50, limit=60, validation=10, separator=49)
    np.testing.assert_array_equal(found.tokens, tokens[:60])
    np.testing.assert_array_equal(found.validation, tokens[None, -10:])
    assert found.starts.tolist() == [0, 50]
    assert found.domains == (name,)
    assert isinstance(found.tokens.base, np.memmap) or isinstance(found.tokens, np.memmap)
    assert found.sha256 == hashlib.sha256(tokens[:60].tobytes() + tokens[-10:].tobytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("a.npy", TOKENS.astype(np.float32), "must hold one row of integers, found float32 of shape"),
        ("a.npy", TOKENS.reshape(2, 50), "must hold one row of integers, found uint16 of shape"),
        ("a.bin", TOKENS[:15], "must hold at least 20 tokens, twice what is held out, found 15"),
        ("a.bin", TOKENS.astype(np.uint8)[:99], "must hold whole uint16 tokens, found 99 bytes"),
        ("a.npy", TOKENS + 1, "must hold tokens below the vocabulary of 50, found 50"),
        ("a.npy", TOKENS.astype(np.int32) - 1, "must hold tokens below the vocabulary of 50, found 48"),
        ("a.txt", TOKENS[:0], "is empty"),
    ],
)
def test_bad_files_are_named_in_one_line(tmp_path, name, array, message):
    path = write(tmp_path / name, array)
    with pytest.raises(DataError, match=message) as caught:
        token_files.read(path, vocabulary=50, limit=60, validation=10)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_paths_and_arguments(tmp_path):
    with pytest.raises(DataError, match=r"none\.npy cannot be read \(No such file or directory\)"):
        token_files.read(tmp_path / "none.npy", vocabulary=50, limit=60)
    with pytest.raises(DataError, match="cannot be read"):
        token_files.read(tmp_path, vocabulary=50, limit=60)
    (tmp_path / "not.npy").write_bytes(b"no array at all")
    with pytest.raises(DataError, match=r"not\.npy is not an array of integers"):
        token_files.read(tmp_path / "not.npy", vocabulary=50, limit=60)
    with pytest.raises(ValueError, match="limit must be >= 1, got 0"):
        token_files.read(tmp_path / "x.bin", vocabulary=50, limit=0)
    path = write(tmp_path / "x.bin", TOKENS)
    with pytest.raises(ValueError, match="dtype must be one of uint8, uint16, uint32, int32, got 'int7'"):
        token_files.read(path, vocabulary=50, limit=60, dtype="int7")
