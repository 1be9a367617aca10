"""An append-only file of rows of arrays, of which any prefix of whole rows can be read back.

A row is one line of JSON (step, names, dtypes, shapes, checksum) followed by the raw bytes. A process killed while it
appends leaves at most one broken row at the end, which readers ignore and the next writer cuts off.
"""

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["Journal", "Row", "read_rows", "stack"]


class Row(NamedTuple):
    """What was logged at one step: name -> `[R]` or `[R, axis]`."""

    step: int
    arrays: dict[str, np.ndarray]


def _encode(row: Row) -> bytes:
    body = b"".join(np.ascontiguousarray(a).tobytes() for a in row.arrays.values())
    layout = [[name, a.dtype.str, list(a.shape)] for name, a in row.arrays.items()]
    header = {"step": row.step, "layout": layout, "bytes": len(body), "crc32": zlib.crc32(body)}
    return json.dumps(header).encode() + b"\n" + body


def _decode(content: bytes) -> Iterator[tuple[Row, int]]:
    """Whole rows and the position after each."""
    position = 0
    while (newline := content.find(b"\n", position)) >= 0:
        try:
            header = json.loads(content[position:newline])
            body = content[newline + 1 : newline + 1 + header["bytes"]]
            if len(body) != header["bytes"] or zlib.crc32(body) != header["crc32"]:
                return
        except (ValueError, KeyError, TypeError):  # the tail of a torn or damaged row
            return
        arrays, start = {}, 0
        for name, dtype, shape in header["layout"]:
            size = np.dtype(dtype).itemsize * int(np.prod(shape))
            arrays[name] = np.frombuffer(body[start : start + size], dtype).reshape(shape)
            start += size
        position = newline + 1 + header["bytes"]
        yield Row(header["step"], arrays), position


def read_rows(path: Path) -> list[Row]:
    """All whole rows of a journal; none if there is no file."""
    try:
        return [row for row, _ in _decode(path.read_bytes())]
    except FileNotFoundError:
        return []


def stack(rows: list[Row]) -> dict[str, np.ndarray]:
    """Rows as curves: name -> `[points, R, ...]`, and "step" `[points]`."""
    curves = {"step": np.asarray([row.step for row in rows], np.int64)}
    for name in rows[0].arrays if rows else ():
        curves[name] = np.stack([row.arrays[name] for row in rows])
    return curves


class Journal:
    """The writing end."""

    def __init__(self, path: Path):
        self.path = path

    def rewind(self, step: int) -> list[Row]:
        """Cuts rows after `step`, and a broken end; returns the rows that stay."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        kept, end = [], 0
        for row, position in _decode(content):
            if row.step > step:
                break
            kept.append(row)
            end = position
        os.truncate(self.path, end)
        return kept

    def append(self, row: Row) -> None:
        """Adds a row; the bytes have left this process when it returns."""
        with open(self.path, "ab") as file:
            file.write(_encode(row))

    def sync(self) -> None:
        """Forces the rows to the disk: called before a checkpoint that counts on them."""
        if self.path.exists():
            with open(self.path, "ab") as file:
                os.fsync(file.fileno())
