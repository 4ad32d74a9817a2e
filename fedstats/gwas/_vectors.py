"""Four float64 at a time: the two vector operations that the kernels on packed genotypes repeat.

Compilers do not find them by themselves, for they cannot know that tables and sums never overlap. The
operations are LLVM's own on vectors of four, which every processor has in one or two instructions.
"""

# ruff: noqa: ARG001  (numba asks the functions about types alone, and calls what they return)

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

#: Numbers in a vector: a row of every array that is given to these functions has so many.
WIDTH: Final = 4

_VECTOR: Final = ir.VectorType(ir.DoubleType(), WIDTH)
_ALIGNMENT: Final = 8


def _put_sum(context: Any, out: Any, to: Any, x: Any, i: Any, y: Any, j: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = [_row(context, builder, signature, arguments, at, at + 1) for at in (0, 2, 4)]
        a, b = (builder.load(row, align=_ALIGNMENT) for row in rows[1:])
        builder.store(builder.fadd(a, b), rows[0], align=_ALIGNMENT)
        return context.get_dummy_value()

    index = types.int64
    return types.void(out, index, x, index, y, index), generate


def _add_four(context: Any, out: Any, to: Any, table: Any, i: Any, j: Any, k: Any, l: Any) -> Any:  # noqa: E741
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = [
            _row(context, builder, signature, arguments, *at)
            for at in ((0, 1), *((2, n) for n in range(3, 7)))
        ]
        sums, a, b, c, d = (builder.load(row, align=_ALIGNMENT) for row in rows)
        four = builder.fadd(builder.fadd(a, b), builder.fadd(c, d))
        builder.store(builder.fadd(sums, four), rows[0], align=_ALIGNMENT)
        return context.get_dummy_value()

    index = types.int64
    return types.void(out, index, table, index, index, index, index), generate


def _row(context: Any, builder: Any, signature: Any, arguments: Any, array: int, row: int) -> Any:
    """Point to a row of a contiguous array of shape (rows, WIDTH); both are given as arguments' places."""
    data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
    entry = builder.mul(arguments[row], ir.Constant(ir.IntType(64), WIDTH))
    return builder.bitcast(builder.gep(data, [entry]), _VECTOR.as_pointer())


#: ``put_sum(out, to, x, i, y, j)``: out[to] = x[i] + y[j].
put_sum: Any = intrinsic(_put_sum)
#: ``add_four(out, to, table, i, j, k, l)``: out[to] += table[i] + table[j] + table[k] + table[l].
add_four: Any = intrinsic(_add_four)
