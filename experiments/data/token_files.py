"""Token streams for language models: a corpus in memory or memory-mapped, and users' own text or token files.

A text file is a stream of its bytes, a vocabulary of 256. `.npy` holds a one-dimensional array of integers, `.bin` raw
little-endian ones; both are memory-mapped, so that a file may be larger than the memory. The last tokens of every
domain are for validation and are never trained on.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data.fetch import DataError

__all__ = ["BINARY_DTYPES", "VALIDATION", "Corpus", "read"]

#: Tokens of each domain that are held out; 200 kB of bytes.
VALIDATION = 200_000

BINARY_DTYPES = ("uint8", "uint16", "uint32", "int32")


class Corpus(NamedTuple):
    """A token stream cut into documents, and what is held out of it.

    Attributes:
      tokens: `[N]` unsigned integers, for training.
      starts: `[documents]` int64, the first token of each document, ascending, the first 0.
      label: `[documents]` int64, the domain of each document, an index into `domains`.
      domains: their names.
      validation: `[domains, M]`, the last M tokens of each domain.
      sha256: of everything that was read, training and validation: numbers compare only where it is equal.
    """

    tokens: np.ndarray
    starts: np.ndarray
    label: np.ndarray
    domains: tuple[str, ...]
    validation: np.ndarray
    sha256: str


def read(
    path: str | os.PathLike, *, vocabulary: int, limit: int, validation: int = VALIDATION, dtype: str = "uint16",
    separator: int | None = None,
) -> Corpus:  # fmt: skip
    """A user's file as a corpus of one domain, called by the file's name.

    Args:
      path: `.npy`, `.bin`, or a text file of any other name.
      vocabulary: every token that is used must be less.
      limit: at most so many training tokens are taken, from the file's beginning.
      validation: tokens held out, from the file's end.
      dtype: of the integers in a `.bin` file, one of `BINARY_DTYPES`.
      separator: the token that ends a document; None where the file is one document.

    Raises:
      DataError: no such file, one that cannot be read, holds something else, is too short, or has a larger token.
      ValueError: an unknown dtype, or sizes that are not positive.
    """
    for name, value in (("vocabulary", vocabulary), ("limit", limit), ("validation", validation)):
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}.")
    path = Path(path).expanduser()
    stream = _open(path, dtype)
    if len(stream) < 2 * validation:
        raise DataError(
            f"{path} must hold at least {2 * validation:,} tokens, twice what is held out, found {len(stream):,}."
        )
    train, held_out = stream[: min(limit, len(stream) - validation)], stream[-validation:]
    digest = hashlib.sha256()
    for part in (train, held_out):
        if (largest := int(part.max())) >= vocabulary or int(part.min()) < 0:
            raise DataError(f"{path} must hold tokens below the vocabulary of {vocabulary}, found {largest}.")
        digest.update(np.ascontiguousarray(part))
    starts = np.zeros(1, np.int64)
    if separator is not None:
        ends = np.flatnonzero(train[:-1] == separator)
        starts = np.concatenate([starts, ends + 1])
    return Corpus(train, starts, np.zeros(len(starts), np.int64), (path.name,), held_out[None], digest.hexdigest())


def _open(path: Path, dtype: str) -> np.ndarray:
    """The file's tokens `[N]`, mapped and not read."""
    try:
        if path.suffix == ".npy":
            stream = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            kind = np.dtype(np.uint8)
            if path.suffix == ".bin":
                if dtype not in BINARY_DTYPES:
                    raise ValueError(f"dtype must be one of {', '.join(BINARY_DTYPES)}, got {dtype!r}.")
                kind = np.dtype(dtype).newbyteorder("<")
            if path.stat().st_size % kind.itemsize:
                raise DataError(f"{path} must hold whole {kind.name} tokens, found {path.stat().st_size:,} bytes.")
            if not path.stat().st_size:
                raise DataError(f"{path} is empty.")
            stream = np.memmap(path, kind, mode="r")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        if path.suffix == ".npy":
            raise DataError(f"{path} is not an array of integers ({error}).") from error
        raise
    if stream.ndim != 1 or stream.dtype.kind not in "iu":
        raise DataError(f"{path} must hold one row of integers, found {stream.dtype} of shape {stream.shape}.")
    return stream
