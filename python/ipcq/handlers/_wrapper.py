"""The function of the C contract (ipcq/handler.h) around a handler's function, for Numba to compile.

The same text serves both of Numba's compilers; what they have each of their own is passed in as ``Parts``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ._base import Parameter
from ._context import (
    CAPACITY,
    DROP,
    ELEMENT_FUNCTION,
    FAILED,
    FUNCTION,
    NEW_LENGTH,
    PRODUCER,
    PUBLISHED_AT,
    RANK,
    RECORD,
    REFUSE,
    SEQUENCE,
    SIZE,
    STATE,
    STATE_BYTES,
    TICKET,
    WORDS,
    Message,
    Team,
)
from ._signature import Signature


@dataclass(frozen=True)
class Task:
    """What is to be compiled.

    Attributes:
        name: What errors call it.
        function: The user's.
        asked: Its parameters.
        values: Those of its own, all of them.
        dtype: NumPy's type of the elements of ``data``.
        state_dtype: And of ``state``.
        fastmath: Whether operations on floats may be reordered.
    """

    name: str
    function: Callable[..., Any]
    asked: Signature
    values: Mapping[str, Parameter]
    dtype: Any
    state_dtype: Any
    fastmath: bool


@dataclass(frozen=True)
class Parts:
    """What one of Numba's compilers brings.

    Attributes:
        types: Its types.
        intrinsic: Its decorator of this name.
        populate_array: Its function of this name, which fills an array's structure.
        from_dtype: NumPy's type of elements as one of its types.
        typing_error: What it takes for a reason why a call has no such types.
        one_lane: A team has one lane, and the compiler may know it.
    """

    types: Any
    intrinsic: Callable[..., Any]
    populate_array: Callable[..., Any]
    from_dtype: Callable[[Any], Any]
    typing_error: type[Exception]
    one_lane: bool


def _view(parts: Parts, element: Any) -> Any:
    """``view(address, count)``: memory as an array of one dimension."""
    types, populate_array = parts.types, parts.populate_array

    def view(typingctx: Any, address: Any, count: Any) -> Any:  # noqa: ARG001
        array = types.Array(element, 1, "C", aligned=True)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
            of_element = context.get_data_type(element)
            size = context.get_constant(types.intp, context.get_abi_sizeof(of_element))
            made = context.make_array(array)(context, builder)
            populate_array(
                made,
                data=builder.inttoptr(arguments[0], of_element.as_pointer()),
                shape=[arguments[1]],
                strides=[size],
                itemsize=size,
                meminfo=None,
            )
            return made._getvalue()  # noqa: SLF001

        return array(types.int64, types.int64), generate

    return parts.intrinsic(view)


def _code(parts: Parts) -> Any:
    """``code(result)``: what the function has returned, as the contract's code; nothing is 0."""
    types = parts.types

    def code(typingctx: Any, result: Any) -> Any:  # noqa: ARG001
        of_value = result.type if isinstance(result, types.Optional) else result
        if not isinstance(of_value, (types.Integer, types.NoneType)):
            raise parts.typing_error(f"a handler returns nothing or a code, an integer; this one returns {result}")

        def narrowed(context: Any, builder: Any, value: Any, kind: Any) -> Any:
            failed = context.get_constant(types.int32, FAILED)
            wide = context.cast(builder, value, kind, types.int64)
            fits = builder.icmp_unsigned("<=", wide, context.get_constant(types.int64, DROP))
            return builder.select(fits, builder.trunc(wide, failed.type), failed)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            zero = context.get_constant(types.int32, 0)
            kind = signature.args[0]
            if isinstance(kind, types.NoneType):
                return zero
            if not isinstance(kind, types.Optional):
                return narrowed(context, builder, arguments[0], kind)
            optional = context.make_helper(builder, kind, value=arguments[0])
            return builder.select(optional.valid, narrowed(context, builder, optional.data, kind.type), zero)

        return types.int32(result), generate

    return parts.intrinsic(code)


def _element(parts: Parts, dtype: Any) -> Any:
    """``element(result)``: what a function of one element has returned, as an element.

    Integers wrap. A float that an integer cannot hold becomes the nearest, and NaN 0, as a GPU converts: without this
    each compiler, and each part of a loop, would make something else of it.
    """
    types, element = parts.types, parts.from_dtype(dtype)

    def saturated(context: Any, builder: Any, value: Any) -> Any:
        signed, bits = element.signed, element.bitwidth
        low = -(2 ** (bits - 1)) if signed else 0
        high = 2 ** (bits - 1) if signed else 2**bits  # the first that is too large: a float has it exactly
        number = context.get_constant(types.float64, 0.0)
        at_least = builder.fcmp_ordered(">=", value, context.get_constant(types.float64, float(low)))
        below = builder.fcmp_ordered("<", value, context.get_constant(types.float64, float(high)))
        safe = builder.select(builder.and_(at_least, below), value, number)
        target = context.get_value_type(element)
        made = builder.fptosi(safe, target) if signed else builder.fptoui(safe, target)
        above = builder.fcmp_ordered(">=", value, context.get_constant(types.float64, float(high)))
        under = builder.fcmp_ordered("<", value, context.get_constant(types.float64, float(low)))
        made = builder.select(above, context.get_constant(element, high - 1), made)
        return builder.select(under, context.get_constant(element, low), made)

    def convert(typingctx: Any, result: Any) -> Any:  # noqa: ARG001
        if not isinstance(result, (types.Integer, types.Float, types.Boolean)):
            raise parts.typing_error(f"an elementwise handler returns a number on each path; this one returns {result}")

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = signature.args[0]
            if isinstance(kind, types.Float) and isinstance(element, types.Integer):
                return saturated(context, builder, context.cast(builder, arguments[0], kind, types.float64))
            return context.cast(builder, arguments[0], kind, element)

        return element(result), generate

    return parts.intrinsic(convert)


_ARGUMENTS = {
    "data": "data",
    "team": "team",
    "message": "message",
    "length": f"view_word(words[{NEW_LENGTH}], one)",
    "state": f"view_state(words[{STATE}], words[{STATE_BYTES}] // state_bytes)",
}


# By which type an element is passed to ipcq_element(): compilers differ in how they pass small integers.
PASSED = {
    "int8": "int32",
    "uint8": "int32",
    "int16": "int32",
    "uint16": "int32",
    "int32": "int32",
    "uint32": "int64",
    "int64": "int64",
    "uint64": "int64",
    "float32": "float32",
    "float64": "float64",
}


def element_wrapper(inner: Any, task: Task, parts: Parts) -> tuple[Callable[..., Any], Any]:
    """The function of one element for a GPU, and its signature. What applies it to all is in the compiler."""
    arguments = "".join(f", value_{name}" for name in task.values)
    text = f"def {ELEMENT_FUNCTION}(x):\n  return element(inner(of_type(x){arguments}))\n"
    names: dict[str, Any] = {
        "inner": inner,
        "element": _element(parts, task.dtype),
        "of_type": getattr(parts.types, task.dtype.name),
    }
    names |= {f"value_{name}": value for name, value in task.values.items()}
    exec(text, names)
    passed = getattr(parts.types, PASSED[task.dtype.name])
    return names[ELEMENT_FUNCTION], passed(passed)


def wrapper(inner: Any, task: Task, parts: Parts) -> Callable[..., int]:
    """The contract's function, which calls ``inner`` with what it asks for."""
    one_lane = "Team(zero, one)" if parts.one_lane else f"Team(words[{RANK}], words[{SIZE}])"
    of_message = (TICKET, SEQUENCE, PRODUCER, PUBLISHED_AT, RECORD, CAPACITY)
    arguments = [_ARGUMENTS[name] for name in task.asked.given] + [f"value_{name}" for name in task.asked.defaults]
    lines = [f"def {FUNCTION}(address, bytes, context):", "  words = view_word(context, count_of_words)"]
    if "state" in task.asked.given:
        lines += [f"  if words[{STATE_BYTES}] < state_bytes:", f"    return {FAILED}"]
    lines += [
        "  if bytes % element_bytes != 0:",
        f"    return {REFUSE}",
        "  data = view_data(address, bytes // element_bytes)",
    ]
    if task.asked.is_elementwise:
        lines += [
            "  for i in range(data.size):",
            f"    data[i] = element(inner(data[i], {', '.join(arguments)}))",
            "  return 0",
        ]
    else:
        lines += [
            f"  team = {one_lane}",
            f"  message = Message({', '.join(f'words[{word}]' for word in of_message)})",
            f"  return code(inner({', '.join(arguments)}))",
        ]
    int64 = parts.types.int64  # signed, as array sizes are: Numba makes a float of both kinds together
    names: dict[str, Any] = {
        "inner": inner,
        "code": _code(parts),
        "view_word": _view(parts, int64),
        "view_data": _view(parts, parts.from_dtype(task.dtype)),
        "view_state": _view(parts, parts.from_dtype(task.state_dtype)),
        "Team": Team,
        "Message": Message,
        "element_bytes": task.dtype.itemsize,
        "state_bytes": task.state_dtype.itemsize,
        "count_of_words": WORDS,
        "zero": 0,
        "one": 1,
    }
    if task.asked.is_elementwise:
        names["element"] = _element(parts, task.dtype)
    names |= {f"value_{name}": value for name, value in task.values.items()}
    exec("\n".join(lines), names)
    function: Callable[..., int] = names[FUNCTION]
    return function
