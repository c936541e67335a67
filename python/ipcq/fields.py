"""Types of fields for dataclasses that travel in messages, where Python's own say too little.

    from dataclasses import dataclass
    from typing import Annotated
    from ipcq.fields import Chars, Fixed, Tensor, U32, U64

    @dataclass
    class Reading:
        sensor: U32                                  # std::uint32_t
        symbol: Annotated[str, Chars(8)]             # char[8]
        range: Annotated[list[float], Fixed(2)]      # double[2]
        unit: str                                    # ipcq::Text
        samples: list[float]                         # ipcq::List<double>
        image: Tensor                                # ipcq::Tensor: a NumPy array

Without one of these ``bool`` is bool, ``int`` is i64, ``float`` is f64, ``str`` is text, ``bytes`` is list<u8>,
``list[T]`` a list, a dataclass a struct, ``numpy.ndarray`` a tensor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Scalar:
    """A number of a given kind.

    Attributes:
        kind: ``i8`` to ``i64``, ``u8`` to ``u64``, ``f32`` or ``f64``.
    """

    kind: str


@dataclass(frozen=True)
class Chars:
    """Text in the struct itself: ``char[size]``.

    Attributes:
        size: Most bytes that it has in UTF-8.
    """

    size: int


@dataclass(frozen=True)
class Fixed:
    """A list in the struct itself: ``T[size]``.

    Attributes:
        size: Number of its elements, which each value has exactly.
    """

    size: int


@dataclass(frozen=True)
class _Array:
    pass


I8 = Annotated[int, Scalar("i8")]
I16 = Annotated[int, Scalar("i16")]
I32 = Annotated[int, Scalar("i32")]
I64 = Annotated[int, Scalar("i64")]
U8 = Annotated[int, Scalar("u8")]
U16 = Annotated[int, Scalar("u16")]
U32 = Annotated[int, Scalar("u32")]
U64 = Annotated[int, Scalar("u64")]
F32 = Annotated[float, Scalar("f32")]
F64 = Annotated[float, Scalar("f64")]
Tensor = Annotated[Any, _Array()]

__all__ = ["F32", "F64", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "Chars", "Fixed", "Scalar", "Tensor"]
