"""Files that are either whole or absent, with bytes that depend on their content alone."""

import contextlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

__all__ = ["json_text", "npz_bytes", "read_npz", "remove_temporaries", "replace", "sync_folder"]

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip entry can carry: no clock enters the bytes


@contextlib.contextmanager
def _temporary_sibling(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def replace(path: Path, content: bytes | str) -> None:
    """Writes `content` to `path` through a synced sibling and a rename, so that a reader never sees half of it.

    Raises:
      OSError: nothing at `path` has changed.
    """
    path = Path(path)
    content = content.encode() if isinstance(content, str) else content
    with _temporary_sibling(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    sync_folder(path.parent)


def remove_temporaries(folder: Path) -> None:
    """Removes what writers that were killed have left in `folder`; there must be no other writer."""
    for path in folder.glob(".*.tmp"):
        path.unlink()


def sync_folder(folder: Path) -> None:
    """Makes renames inside `folder` survive a power cut, where the file system knows how."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse to sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_text(value) -> str:
    """JSON with sorted keys, two-space indent and a final newline; NaN and infinities are errors."""
    return json.dumps(value, sort_keys=True, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An uncompressed `.npz` whose bytes depend on names, dtypes, shapes and values only; entries sorted by name.

    Raises:
      ValueError: an array of Python objects, which would need a pickle.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _ZIP_EPOCH), "w", force_zip64=True) as entry:
                np.lib.format.write_array(
                    entry, np.ascontiguousarray(arrays[name]).reshape(np.shape(arrays[name])), allow_pickle=False
                )
    return buffer.getvalue()


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an `.npz` file, read into memory."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
