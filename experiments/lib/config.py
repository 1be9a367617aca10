"""Configs: found by path, changed field by field, written as one canonical text. Nothing here imports jax.

`path.py` or `path.py:arg` is looked up in the current folder, then in the checkout. What can change a number is in the
config, so the text of a resolved config names a question, and its hash names the run directory.
"""

import ast
import difflib
import hashlib
import importlib.util
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import ml_collections

from experiments.lib.errors import UsageError

__all__ = [
    "CHECKOUT", "Resolved", "canonical_text", "digest", "fields", "files", "find", "load_module", "nearest", "override",
    "parse_value", "resolve",
]  # fmt: skip

CHECKOUT = Path(__file__).resolve().parents[2]

#: Words that may follow the colon, separated by commas, where a config does not list its own as `ARGS`.
DEFAULT_ARGS = ("quick",)

#: Present in every resolved config; a config that wants another number says so. See `backend.configure`.
NUMERICS = {"x64": False, "matmul_precision": "highest"}


class Resolved(NamedTuple):
    """A config ready to run.

    Attributes:
      config: complete and locked.
      path: its file.
      arg: what followed the colon, "" if nothing did.
      text: canonical JSON; what `config.json` holds.
    """

    config: ml_collections.ConfigDict
    path: Path
    arg: str
    text: str

    @property
    def directory(self) -> Path:
        """`<family>/<question>/<config>-<hash8>`, relative to the root of the runs."""
        return Path(*self.config.experiment.split(".")) / f"{self.path.stem}-{digest(self.text)}"


def resolve(reference: str, overrides: Mapping[str, Any] | None = None) -> Resolved:
    """Loads `path.py[:arg]` and applies overrides, field -> value, or field -> text as typed on a command line.

    Raises:
      UsageError: no such file, no such field, a value of another type, or a config that breaks the contract.
    """
    path, arg = find(reference)
    config = _build(path, arg)
    for field, value in (overrides or {}).items():
        override(config, field, value)
    _check(config, reference)
    config.lock()
    return Resolved(config, path, arg, canonical_text(config))


def find(reference: str) -> tuple[Path, str]:
    """Splits `path.py[:arg]` and finds the file, in the current folder first."""
    name, colon, arg = reference.rpartition(":")
    if not colon or not name.endswith(".py"):
        name, arg = reference, ""
    for folder in (Path.cwd(), CHECKOUT):
        if (folder / name).is_file():
            return (folder / name).resolve(), arg
    known = [str(path.relative_to(CHECKOUT)) for path in files()]
    hint = nearest(name, known)
    raise UsageError(f"no config {name}" + (f"; nearest: {hint}." if hint else f" in {Path.cwd()} or {CHECKOUT}."))


def files() -> list[Path]:
    """Every config and sweep of the checkout: `configs/<family>/**.py`; `configs/env` holds pins."""
    paths = (CHECKOUT / "configs").glob("*/**/*.py")
    return sorted(path for path in paths if path.relative_to(CHECKOUT).parts[1] != "env")


def load_module(path: Path, function: str) -> ModuleType:
    """Executes a config file and checks that it defines `function`."""
    spec = importlib.util.spec_from_file_location(f"_config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, function, None)):
        raise UsageError(f"{path} does not define {function}().")
    return module


def _build(path: Path, arg: str) -> ml_collections.ConfigDict:
    module = load_module(path, "get_config")
    # A misspelt argument, as in ":quik", must not start the long run.
    known = getattr(module, "ARGS", DEFAULT_ARGS)
    for word in filter(None, arg.split(",")):
        if word not in known:
            raise UsageError(f"{path.name} takes the arguments {', '.join(known)}, got {word!r}.")
    try:
        config = module.get_config(arg)
    except Exception as error:
        raise UsageError(f"get_config({arg!r}) of {path} failed: {type(error).__name__}: {error}") from error
    config.unlock()
    config.numerics = {**NUMERICS, **config.get("numerics", {})}
    return config


def fields(config: ml_collections.ConfigDict, prefix: str = "") -> Iterator[str]:
    """Dotted names of all leaves, sorted."""
    for name in sorted(config.keys()):
        if isinstance(config[name], ml_collections.ConfigDict):
            yield from fields(config[name], f"{prefix}{name}.")
        else:
            yield prefix + name


def nearest(name: str, known: list[str]) -> str | None:
    """The known name most like `name`: by the whole dotted name, or by its last part where that is closer."""

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, name, candidate).ratio()
        last = difflib.SequenceMatcher(None, name.rpartition(".")[2], candidate.rpartition(".")[2]).ratio()
        return max(whole, 0.95 * last)

    best = max(known, key=likeness, default=None)
    return best if best is not None and likeness(best) >= 0.5 else None


def override(config: ml_collections.ConfigDict, field: str, value: Any) -> None:
    """Sets one leaf of `config`, by its dotted name, to a value of the type that it has.

    Raises:
      UsageError: one line that names the nearest field, or the type that is wanted.
    """
    *sections, leaf = field.split(".")
    node = config
    for name in sections:
        node = node[name] if isinstance(node, ml_collections.ConfigDict) and name in node else None
    if not isinstance(node, ml_collections.ConfigDict) or leaf not in node:
        hint = nearest(field, list(fields(config)))
        raise UsageError(f"no field config.{field}" + (f"; nearest: config.{hint}." if hint else "."))
    if isinstance(node[leaf], ml_collections.ConfigDict):
        inside = ", ".join(f"config.{name}" for name in fields(node[leaf], f"{field}."))
        raise UsageError(f"config.{field} is a section; its fields are {inside}.")
    node[leaf] = parse_value(f"config.{field}", value, like=node[leaf])


def parse_value(name: str, value: Any, like: Any) -> Any:
    """`value`, or the text it was typed as, converted to the type of `like`; a field that is None takes any literal."""
    kind = type(like)
    if isinstance(value, str) and kind is not str:
        value = _literal(value, kind)
    if like is None or (kind is not float and type(value) is kind):
        return value
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind in (tuple, list) and isinstance(value, (tuple, list)):
        return kind(parse_value(name, v, like=like[0]) for v in value) if like else kind(value)
    raise UsageError(f"{name} must be {_an(kind.__name__)}, got {value!r}.")


def _literal(text: str, kind: type) -> Any:
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind is float:
        try:
            return float(text)
        except ValueError:
            return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _an(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def canonical_text(config: ml_collections.ConfigDict) -> str:
    """Sorted JSON of a config; tuples become lists.

    Raises:
      UsageError: a leaf that is no number, string, bool, None or list of them, or is not finite.
    """
    return json.dumps(_plain(config.to_dict(), "config"), sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(v, f"{name}.{key}") for key, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(v, name) for v in value]
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    raise UsageError(f"{name} must be a finite number, a string, a bool, None or a list of them, got {value!r}.")


def digest(text: str) -> str:
    """The eight characters that name a resolved config."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _check(config: ml_collections.ConfigDict, reference: str) -> None:
    def whole(field: str, minimum: int) -> int:
        value = config
        for part in field.split("."):
            if not isinstance(value, ml_collections.ConfigDict) or part not in value:
                raise UsageError(f"{reference} lacks the field {field}.")
            value = value[part]
        if type(value) is not int or value < minimum:
            raise UsageError(f"config.{field} must be an int >= {minimum}, got {value!r}.")
        return value

    experiment = config.get("experiment")
    if not isinstance(experiment, str) or not all(part.isidentifier() for part in experiment.split(".")):
        raise UsageError(f'{reference} must name its experiment, like "regret.medical", got {experiment!r}.')
    whole("seed", 0)
    whole("run.replicates", 1)
    num_steps, chunk = whole("run.num_steps", 1), whole("run.chunk", 1)
    if num_steps % chunk:
        raise UsageError(
            f"config.run.num_steps must be a multiple of config.run.chunk={chunk}, got {num_steps}; "
            f"nearest: {max(1, round(num_steps / chunk)) * chunk}."
        )
    for name in sorted(config.numerics.keys()):
        if name not in NUMERICS:
            raise UsageError(f"no field config.numerics.{name}; the fields are {', '.join(NUMERICS)}.")
    precisions = ("default", "high", "highest")
    if type(config.numerics.x64) is not bool:
        raise UsageError(f"config.numerics.x64 must be a bool, got {config.numerics.x64!r}.")
    if config.numerics.matmul_precision not in precisions:
        raise UsageError(
            f"config.numerics.matmul_precision must be one of {', '.join(precisions)}, "
            f"got {config.numerics.matmul_precision!r}."
        )
