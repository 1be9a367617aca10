"""A state as checkpoints hold it: leaves by number, keys as integers, and texts that say what and where each one is."""

from __future__ import annotations

import json
import zlib
from typing import Any

__all__ = ["layout", "name", "raw", "revived", "storable", "text_crc32"]


def name(index: int) -> str:
    """Of a leaf in the files: user classes stay out of them."""
    return f"leaf_{index:04d}"


def storable(state: Any) -> dict[str, Any]:
    """Leaves by number, without empty arrays, which orbax refuses."""
    import jax

    return {name(i): raw(leaf) for i, leaf in enumerate(jax.tree.leaves(state)) if leaf.size}


def raw(leaf: Any) -> Any:
    """A typed key as its integers: what they mean is known from the program, not from a file that may be lost."""
    import jax

    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def revived(stored: Any, like: Any) -> Any:
    """The leaf that `raw` took apart; None for one that is empty."""
    import jax

    if stored is None:
        return like
    return jax.random.wrap_key_data(stored, impl=jax.random.key_impl(like)) if _is_key(like) else stored


def layout(state: Any) -> list[str]:
    """One text per leaf: where it is, its shape and its dtype."""
    import jax

    paths = jax.tree_util.tree_leaves_with_path(state)
    return [f"{jax.tree_util.keystr(path) or 'state'} {list(leaf.shape)} {leaf.dtype}" for path, leaf in paths]


def text_crc32(stamp: dict[str, Any]) -> int:
    """Of a stamp without its own."""
    return zlib.crc32(json.dumps(stamp, sort_keys=True).encode())


def _is_key(leaf: Any) -> bool:
    import jax

    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
