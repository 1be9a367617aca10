"""Which implementation of an operation runs: the only place with fallback logic.

`impl=None` asks for the best one that works. The choice between platforms is made by `lax.platform_dependent` while the
program is lowered, so one traced program serves every backend. A named `impl` never falls back: it runs or raises.
"""

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax

__all__ = ["Candidate", "choose", "explain", "forced"]

_log = logging.getLogger("pallas_kernels")

#: Part of the key under which jax keeps traces, and each thread's own: a function that was traced without `forced` is
#: traced again within it.
_forced = jax.make_user_context(None)


class Candidate(NamedTuple):
    """One implementation of an operation.

    `by_platform` maps "cpu", "cuda", "rocm", "tpu" or "default" to a function of the operation's array arguments;
    `unsupported(*args)` says in the caller's terms why these arguments cannot be served, or returns None;
    `automatic` is False for what only a test or a developer asks for by name.
    """

    by_platform: Mapping[str, Callable[..., Any]]
    unsupported: Callable[..., str | None] = lambda *args: None
    automatic: bool = True


def choose(operation: str, impl: str | None, candidates: Mapping[str, Candidate], *args: Any) -> Callable[..., Any]:
    """The function of `*args` that serves the request.

    Args:
      operation: name used in messages.
      impl: a key of `candidates`, or None for the best one on each platform.
      candidates: in order of preference. With `impl=None` an earlier candidate takes the platforms it names, a later
        one the rest; one of them must have "default".
      *args: arrays or abstract arrays, shown to `unsupported`.

    Within `forced(name)`, `impl=None` asks for that name.

    Raises:
      ValueError: `impl` is not a key of `candidates`.
      NotImplementedError: the named `impl` does not support these arguments.
    """
    impl = _forced.value if impl is None else impl
    if impl is None:
        return _by_platform(_best(operation, candidates, *args))
    if impl not in candidates:
        raise ValueError(f"impl must be None or one of {', '.join(sorted(candidates))}, got {impl!r}.")
    why = candidates[impl].unsupported(*args)
    if why is not None:
        raise NotImplementedError(f"{operation}[{impl}]: {why}; use impl=None or 'xla'.")
    return _by_platform(candidates[impl].by_platform)


@contextmanager
def forced(impl: str | None) -> Iterator[None]:
    """While this thread traces within it, every operation that is asked for with `impl=None` runs as `impl`.

    For comparisons of whole programs: with "xla" the same program without any Pallas kernel. As any named `impl` it
    never falls back: `choose` raises where an operation has none of that name, or where it cannot serve. None is
    the best one again.
    """
    with _forced(impl):
        yield


def explain(candidates: Mapping[str, Candidate], platform: str, *args: Any) -> dict[str, str | None]:
    """What `impl=None` does on a platform: for each candidate None if it is taken, else why it is not."""
    verdicts: dict[str, str | None] = {}
    taker: dict[str, str] = {}
    for name, candidate in candidates.items():
        verdicts[name] = None if candidate.automatic else "only when asked for by name"
        verdicts[name] = verdicts[name] or candidate.unsupported(*args)
        if verdicts[name] is None:
            taker = dict.fromkeys(candidate.by_platform, name) | taker
    chosen = taker.get(platform, taker.get("default"))
    for name, verdict in verdicts.items():
        if verdict is None and name != chosen:
            platforms = candidates[name].by_platform
            here = platform in platforms or "default" in platforms
            verdicts[name] = f"{chosen} comes first" if here else f"for {', '.join(sorted(platforms))} only"
    return verdicts


def _best(operation, candidates, *args):
    chosen = {}
    for name, candidate in candidates.items():
        if not candidate.automatic:
            continue
        why = candidate.unsupported(*args)
        if why is None:
            chosen = dict(candidate.by_platform) | chosen
        else:
            _note_once(operation, name, why)
    return chosen


def _by_platform(functions):
    if len(functions) == 1:
        return next(iter(functions.values()))
    return functools.partial(jax.lax.platform_dependent, **functions)


@functools.cache
def _note_once(operation, name, why):
    _log.info("%s: not using %s here: %s.", operation, name, why)
