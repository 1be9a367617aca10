"""Array aliases, and the protocol that every iterative algorithm module meets.

The protocol is for type checkers and for the conformance tests: a module is an algorithm if it has these names, and
`research.core.discover` finds it by its `example`.
"""

from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt

__all__ = ["ALGORITHM_NAMES", "Algorithm", "Array", "Bool", "Float", "Int", "Key", "UInt"]

Key = PRNGKeyArray

#: What an algorithm module exports, beside its bounds and its `example`.
ALGORITHM_NAMES = ("Problem", "Params", "State", "Info", "Result", "init", "step", "run")


class _Result(Protocol):
    state: Any
    trace: Any
    status: Int[Array, ""]


class Algorithm(Protocol):
    """A module with the eight names: data, knobs, what a step carries, what it reports, what a run returns."""

    Problem: type
    Params: type
    State: type[NamedTuple]
    Info: type[NamedTuple]
    Result: type[NamedTuple]

    @staticmethod
    def init(problem: Any, params: Any, key: Key | None = None) -> Any: ...

    @staticmethod
    def step(problem: Any, params: Any, state: Any) -> tuple[Any, Any]: ...

    @staticmethod
    def run(problem: Any, params: Any, key: Key | None = None, *, state: Any = None) -> _Result: ...

    @staticmethod
    def example(key: Key) -> tuple[Any, Any]: ...
