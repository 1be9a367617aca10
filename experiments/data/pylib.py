"""Text that is on every machine: the sources of Python's standard library, and its documentation of the language.

Two domains: `code`, the library's `.py` files in the order of their names, without tests, installed packages, the
record of the build (`_sysconfigdata*`, which differs between machines) and the file that holds the other domain; and
`prose`, the topics of `pydoc_data.topics` in the order of their names. A document is a file or a topic, followed by a
zero byte, which none contains. Tokens are bytes. The text is that of the running Python: numbers of two runs compare
only where the sha256 is equal.
Licence: Python Software Foundation License 2.0; nothing is shipped with the project.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.data.fetch import DataError
from experiments.data.token_files import VALIDATION, Corpus

__all__ = ["DOMAINS", "VOCABULARY", "corpus", "documents", "load"]

DOMAINS = ("code", "prose")
VOCABULARY = 256
_END = b"\0"
_SKIPPED = {"test", "tests", "site-packages", "dist-packages", "__pycache__"}


@functools.cache
def load(validation: int = VALIDATION) -> Corpus:
    """The corpus of the running Python; its arrays are not to be written to.

    Args:
      validation: bytes of each domain that are held out, from its end.

    Raises:
      DataError: this Python has no sources or no topics, or not enough of them.
    """
    return corpus(documents(), validation)


def documents(folder: Path | None = None) -> tuple[list[bytes], list[bytes]]:
    """Documents by domain, code and prose. `folder`: instead of the standard library's. Raises DataError."""
    root = Path(sysconfig.get_paths()["stdlib"]) if folder is None else folder
    paths = [path for path in root.rglob("*.py") if _is_code(path.relative_to(root))]
    try:
        code = [path.read_bytes() for path in sorted(paths, key=lambda path: path.relative_to(root).as_posix())]
    except OSError as error:
        raise DataError(f"pylib: {error.filename} cannot be read ({error.strerror}).") from error
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise DataError("pylib: this Python comes without pydoc_data; take a complete installation.") from error
    return code, [topics[name].encode() for name in sorted(topics)]


def _is_code(path: Path) -> bool:
    """Whether a path relative to the library belongs to the domain `code`."""
    return not (
        _SKIPPED & set(path.parts[:-1])
        or path.as_posix() == "pydoc_data/topics.py"
        or path.name.startswith("_sysconfigdata")
    )


def corpus(by_domain: Sequence[Sequence[bytes]], validation: int = VALIDATION) -> Corpus:
    """Documents `[domain][document]` as one stream in which the domains are spread evenly.

    Every document keeps its order within its domain; the domains are merged by the share of them that lies before.
    Raises DataError for a domain that is shorter than twice what is held out.
    """
    digest, parts = hashlib.sha256(), []
    held_out = np.zeros((len(by_domain), validation), np.uint8)
    for number, texts in enumerate(by_domain):
        total = sum(len(text) + 1 for text in texts)
        name = DOMAINS[number]
        if total < 2 * validation:
            raise DataError(f"pylib: {name} must have at least {2 * validation:,} bytes, found {total:,}.")
        stream = _END.join([*texts, b""])
        digest.update(stream)
        held_out[number] = np.frombuffer(stream[total - validation :], np.uint8)
        before = 0
        for text in texts:
            kept = (text + _END)[: total - validation - before]
            if not kept:
                break
            parts.append((before / (total - validation), number, kept))
            before += len(kept)
    parts.sort(key=lambda part: part[:2])
    lengths = np.array([len(text) for _, _, text in parts], np.int64)
    tokens = np.frombuffer(b"".join(text for *_, text in parts), np.uint8)
    label = np.array([number for _, number, _ in parts], np.int64)
    return Corpus(tokens, np.cumsum(lengths) - lengths, label, DOMAINS, held_out, digest.hexdigest())
