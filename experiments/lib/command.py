"""What every command line here does alike: flags, `--config.field=value`, and ends that are told in one line."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from absl import flags

from experiments.lib.errors import Stop, UsageError

__all__ = ["Parser", "helped", "one_line", "parse", "told"]

Overrides = dict[str, str | bool]


class Parser(argparse.ArgumentParser):
    """Of commands that are no experiments; what it refuses is a `UsageError`, told in one line like all others."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def helped(arguments: Sequence[str], described: str | None, values: flags.FlagValues) -> bool:
    """Prints what is described, and the flags, where the arguments ask for help; returns whether they do."""
    asked = any(argument in ("-h", "--help", "-help", "--helpfull") for argument in arguments)
    if asked:
        print(f"{(described or '').strip()}\n\nFlags:\n{values.get_help()}".strip())
    return asked


def parse(values: flags.FlagValues, arguments: Sequence[str]) -> Overrides:
    """Sets the flags, and returns what `--config.field=value`, `--config.field value` and `--[no]config.flag` say.

    Raises:
      UsageError: an unknown flag, a value that a flag refuses, or an argument that is no flag.
    """
    overrides, rest = _split_overrides(arguments)
    try:
        leftover = values(["command", *rest])[1:]
    except flags.Error as error:
        raise UsageError(one_line(error)) from error
    if leftover:
        raise UsageError(f"unexpected argument {leftover[0]!r}; flags are written --name=value.")
    return overrides


def _split_overrides(arguments: Sequence[str]) -> tuple[Overrides, list[str]]:
    overrides, rest, pending = {}, [], None
    for argument in arguments:
        if pending and not argument.startswith("--"):
            overrides[pending], pending = argument, None
            continue
        pending = None
        name = argument.lstrip("-")
        if not argument.startswith("-") or not name.startswith(("config.", "noconfig.")):
            rest.append(argument)
        elif "=" in name:
            field, _, value = name.removeprefix("config.").partition("=")
            overrides[field] = value
        elif name.startswith("noconfig."):
            overrides[name.removeprefix("noconfig.")] = False
        else:
            pending = name.removeprefix("config.")
            overrides[pending] = True  # refused later unless the field is a bool
    return overrides, rest


def told(stop: Stop) -> int:
    """Says on stderr why the command ends; returns its exit code."""
    print(f"error: {one_line(stop)}", file=sys.stderr, flush=True)
    return stop.exit_code


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
