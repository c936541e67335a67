"""What a handler's function asks for, by the names of its parameters."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType, MappingProxyType
from typing import Any

from .._errors import UsageError
from ._base import Parameter

GIVEN = ("data", "team", "message", "length", "state")
"""What a function may ask for; its other parameters are those that queues set."""


@dataclass(frozen=True)
class Signature:
    """Of a handler's function.

    Attributes:
        given: What it asks for, in its order; nothing where it is of one element.
        defaults: Its own parameters, in its order.
    """

    given: tuple[str, ...]
    defaults: Mapping[str, Parameter]

    @property
    def is_elementwise(self) -> bool:
        """The function is of one element, and returns what that becomes."""
        return not self.given


def called(function: Callable[..., Any]) -> str:
    """What errors call it, with its place."""
    code = getattr(function, "__code__", None)
    place = f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""
    return f"handler '{getattr(function, '__name__', function)}'{place}"


def signature_of(function: Callable[..., Any], elementwise: bool) -> Signature:
    """Reads the parameters of a handler's function.

    Raises:
        UsageError: It is no plain function, or has a parameter that is neither given nor has a default.
    """
    name = called(function)
    if (
        not inspect.isfunction(function)
        or inspect.iscoroutinefunction(function)
        or inspect.isgeneratorfunction(function)
    ):
        raise UsageError(f"{name}: a handler is a plain function, or CUDA C++ as text; this is {function!r}")
    given, defaults = [], {}
    parameters = inspect.signature(function).parameters
    if elementwise:
        first = next(iter(parameters.values()), None)
        if first is None or first.default is not first.empty or first.kind is not first.POSITIONAL_OR_KEYWORD:
            raise UsageError(f"{name}: elementwise, its first parameter is the element: a name, without / and default")
        parameters = MappingProxyType({key: p for key, p in parameters.items() if p is not first})
    for key, parameter in parameters.items():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            raise UsageError(f"{name}, parameter '{key}': it is to be one that has a name and a place, without / and *")
        if key in GIVEN and not elementwise:
            if parameter.default is not parameter.empty:
                raise UsageError(f"{name}, parameter '{key}': it is given to the function, and has no default")
            given.append(key)
        elif isinstance(parameter.default, (bool, int, float)):
            defaults[key] = parameter.default
        else:
            if elementwise:
                raise UsageError(
                    f"{name}, parameter '{key}': behind the element each has a bool, int or float as default"
                )
            raise UsageError(
                f"{name}, parameter '{key}': the function is given {', '.join(GIVEN[:-1])} and {GIVEN[-1]}, as it asks "
                "for them by name; parameters of its own have a default that is a bool, int or float"
            )
    if "data" not in given and not elementwise:
        raise UsageError(f"{name}: its first parameter is data, the message as an array")
    _refuse_raise(function.__code__, name)
    return Signature(tuple(given), defaults)


def _refuse_raise(code: CodeType, name: str) -> None:
    for inner in code.co_consts:  # of local functions
        if isinstance(inner, CodeType):
            _refuse_raise(inner, name)
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        starts = instruction.starts_line
        if starts is not None and starts is not True and starts is not False:
            line = starts
        line = getattr(instruction, "line_number", None) or line
        if instruction.opname == "RAISE_VARARGS":
            raise UsageError(
                f"{name}, line {line}: raise and assert cannot be compiled, as code of a GPU has no exceptions; return "
                "a code, 1 to 255, by which the message fails"
            )
