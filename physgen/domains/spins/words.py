"""Eight 64-bit words as one value inside numba kernels: one register of AVX-512, two of AVX2, four of NEON.

Numba vectorises a loop over words only where it can prove that no array overlaps another, which it cannot in a
kernel that updates spins in place (measured: a sixth of the speed). A value of this type is a vector by construction,
on every processor, and the formulas of a kernel read as for single words: ``& | ^ ~ + *`` and shifts by a number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

LANES = 8
WORD, INDEX = ir.IntType(64), ir.IntType(32)
VECTOR = ir.VectorType(WORD, LANES)


class Words(types.Type):
    """Numba type of eight unsigned 64-bit words."""

    def __init__(self) -> None:
        super().__init__(name="Words")


words = Words()
_intrinsic: Any = intrinsic  # it takes fewer arguments than the functions say: the first is the compiler's


@register_model(Words)
class _WordsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, VECTOR)


def _spread(builder: Any, scalar: Any) -> Any:
    """The vector of eight equal words."""
    undefined, first = ir.Constant(VECTOR, ir.Undefined), ir.Constant(INDEX, 0)
    one = builder.insert_element(undefined, scalar, first)
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(INDEX, LANES), [0] * LANES))


def _define(operation: Callable[..., Any], instruction: str, arguments: tuple[Any, ...]) -> None:
    """Let an operator of Python, of words and perhaps a number, be one instruction for vectors."""

    @infer_global(operation)
    class _Typed(ConcreteTemplate):
        cases = [signature(words, *arguments)]

    @lower_builtin(operation, *arguments)
    def _lower(context: Any, builder: Any, sig: Any, values: tuple[Any, ...]) -> Any:
        vectors = [
            value if kind is words else _spread(builder, value) for kind, value in zip(arguments, values, strict=True)
        ]
        return getattr(builder, instruction)(*vectors)


for _operation, _instruction in (
    (operator.and_, "and_"), (operator.or_, "or_"), (operator.xor, "xor"), (operator.add, "add"), (operator.mul, "mul"),
):  # fmt: skip
    _define(_operation, _instruction, (words, words))
    _define(_operation, _instruction, (words, types.uint64))
_define(operator.lshift, "shl", (words, types.uint64))
_define(operator.rshift, "lshr", (words, types.uint64))
_define(operator.invert, "not_", (words,))


def _place(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.PointerType(VECTOR))


@_intrinsic
def load(_: Any, array: Any, index: Any) -> Any:
    """Words ``index ... index + 7`` of a contiguous array of uint64, counted in the flattened array. Not checked."""

    def lower(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        place = context.cast(builder, values[1], sig.args[1], types.intp)
        return builder.load(_place(context, builder, sig.args[0], values[0], place), align=8)

    return words(array, index), lower


@_intrinsic
def store(_: Any, array: Any, index: Any, value: Any) -> Any:
    """Write eight words at ``index`` of the flattened array. Not checked."""

    def lower(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        place = context.cast(builder, values[1], sig.args[1], types.intp)
        builder.store(values[2], _place(context, builder, sig.args[0], values[0], place), align=8)
        return context.get_dummy_value()

    return types.void(array, index, value), lower


@_intrinsic
def spread(_: Any, scalar: Any) -> Any:
    """Eight times the same word."""

    def lower(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        return _spread(builder, context.cast(builder, values[0], sig.args[0], types.uint64))

    return words(scalar), lower


@_intrinsic
def any_bit(_: Any, value: Any) -> Any:
    """Whether any bit of the eight words is set."""

    def lower(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        parts = [builder.extract_element(values[0], ir.Constant(INDEX, i)) for i in range(LANES)]
        while len(parts) > 1:
            parts = [builder.or_(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return builder.icmp_unsigned("!=", parts[0], ir.Constant(WORD, 0))

    return types.boolean(value), lower
