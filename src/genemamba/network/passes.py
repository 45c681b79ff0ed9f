"""The passes between the matrix products of :mod:`~genemamba.network.compiled`, compiled by numba.

Arrays hold float32, or the bits of bfloat16; all is computed in float32. The innermost loops run
from 0 to the length of an array, without calls, so that the compiler vectorises them.

The scan is the recurrence itself, token by token: its state stays in registers, 16 states of a
vector of channels at a time (see :mod:`~genemamba.network.lanes`). Within `_SUB` tokens the decays
are split around their middle, so that a token costs two products for each state and none for decay.

Shapes: B cells, R rows (cells × directions), L tokens, E inner width, H heads, N states,
K = E + 2 N channels of the convolution, T = E + K + H. Row r reads cell r % B, backwards from
r = B on.

projected      B × L × T             z, xBC and dt
dt, a          B × L × H             steps, and decays dt · A
segment        B × L                 the cell of a token
y              directions × B × L × E
into, grown    H × tile              what a token's input and output are multiplied by
enter, leave   H × parts of a tile   what the state is multiplied by before and after
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic, overload

from genemamba.network.lanes import BLOCK, LANES, convolve, mix, write

# a division that may raise is not made vector code
_FAST: dict[str, Any] = {"fastmath": True, "error_model": "numpy"}
_jit = njit(nogil=True, cache=True, **_FAST)
_inline = njit(cache=True, inline="always", **_FAST)
_TILE, _SUB = 64, 16  # tokens at a time, and of them those that share a middle of their decays
_LOG2E = np.float32(1.4426950408889634)
# 2^f for |f| ≤ 1/2, to 1e-7: ln(2)^k / k!
_C = tuple(np.float32(np.log(2.0) ** k / f) for k, f in enumerate((1, 1, 2, 6, 24, 120, 720)))
_C0, _C1, _C2, _C3, _C4, _C5, _C6 = _C


def _float_of(typing, bits):  # type: ignore[no-untyped-def]
    """Reinterpret 32 bits as a float."""

    def code(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], context.get_value_type(types.float32))

    return types.float32(types.uint32), code


def _bits_of(typing, number):  # type: ignore[no-untyped-def]
    """Reinterpret a float as 32 bits."""

    def code(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], context.get_value_type(types.uint32))

    return types.uint32(types.float32), code


_as_float: Any = intrinsic(_float_of)
_as_bits: Any = intrinsic(_bits_of)


def _get(array, i):  # type: ignore[no-untyped-def]
    """Read an item of float32, or of the bits of bfloat16, as float32."""


def _put(array, i, number):  # type: ignore[no-untyped-def]
    """Write float32 as what the array holds, rounded to even."""


@overload(_get, inline="always")
def _get_as(array, i):  # type: ignore[no-untyped-def]
    if array.dtype == types.uint16:
        return lambda array, i: _as_float(np.uint32(array[i]) << np.uint32(16))
    return lambda array, i: array[i]


@overload(_put, inline="always")
def _put_as(array, i, number):  # type: ignore[no-untyped-def]
    if array.dtype == types.uint16:

        def put(array, i, number):  # type: ignore[no-untyped-def]
            bits = _as_bits(number)
            odd = (bits >> np.uint32(16)) & np.uint32(1)
            array[i] = np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))
    else:

        def put(array, i, number):  # type: ignore[no-untyped-def]
            array[i] = number

    return put


@_inline
def _exp(x):  # type: ignore[no-untyped-def]
    """Return exp(x), without a call, so that loops become vector code."""
    t = min(max(x * _LOG2E, np.float32(-126)), np.float32(126))
    whole = np.floor(t + np.float32(0.5))
    f = t - whole
    fraction = _C0 + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * _C6)))))
    return fraction * _as_float(np.uint32(np.int32(whole) + np.int32(127)) << np.uint32(23))


@_inline
def _silu(x):  # type: ignore[no-untyped-def]
    return x / (np.float32(1) + _exp(-x))


@_jit
def scan(  # type: ignore[no-untyped-def]
    first, last, rows, projected, dt, a, segment, weight, bias, skip, y
):
    """Convolve and scan rows first to last, `_TILE` tokens at a time."""
    length, heads = dt.shape[1:]
    inner, taps = y.shape[3], len(bias)
    states, width = (taps - inner) // 2, projected.shape[2]
    bc = np.empty(_TILE * 2 * states, dtype=np.float32)
    u, sums = np.empty((2, _TILE * LANES), dtype=np.float32)
    state = np.empty(inner * states, dtype=np.float32)
    parts = _TILE // _SUB
    into, grown = np.empty((2, heads * _TILE), dtype=np.float32)
    enter, leave = np.empty((2, heads * parts), dtype=np.float32)
    weights = weight.reshape(-1)
    for task in range(first, last):
        row, direction = task % rows, task // rows
        step, origin = (-1, length - 1) if direction else (1, 0)
        own, out = projected[row].reshape(-1), y[direction, row].reshape(-1)
        begin = 0
        while begin < length:
            cell, end = segment[row, origin + step * begin], begin + 1
            while end < length and segment[row, origin + step * end] == cell:
                end += 1
            state[:] = 0
            for start in range(begin, end, _TILE):
                n, seen, place = min(_TILE, end - start), start - begin, origin + step * start
                _grow(dt[row], a[row], place, step, n, into, grown, enter, leave)
                for channel in range(inner, taps, LANES):
                    convolve(
                        own, inner + channel, place, step, seen, n, width, weights, channel, taps,
                        bias, bc, channel - inner, 2 * states,
                    )  # fmt: skip
                for channel in range(0, inner, LANES):
                    head = channel * heads // inner
                    convolve(
                        own, inner + channel, place, step, seen, n, width, weights, channel, taps,
                        bias, u, 0, LANES,
                    )  # fmt: skip
                    sums[:] = 0
                    for block in range(0, states, BLOCK):
                        for part in range(0, n, _SUB):
                            k = head * parts + part // _SUB
                            mix(
                                u, into, head * _TILE, bc, state, channel // LANES * states, sums,
                                part, min(part + _SUB, n), block, states, enter[k], leave[k],
                            )  # fmt: skip
                    write(
                        sums, grown, head * _TILE, u, skip[head], place, step, n, inner, out,
                        channel,
                    )  # fmt: skip
            begin = end


@_inline
def _grow(dt, a, place, step, n, into, grown, enter, leave):  # type: ignore[no-untyped-def]
    """Split decays around the middle of `_SUB` tokens: what goes in, comes out, is kept."""
    heads = dt.shape[1]
    for begin in range(0, n, _SUB):
        end = min(begin + _SUB, n)
        for h in range(heads):
            total, k = np.float32(0), h * _TILE
            for q in range(begin, end):
                total += a[place + step * q, h]
                grown[k + q] = total
            half = total / np.float32(2)
            part = h * (_TILE // _SUB) + begin // _SUB
            enter[part] = leave[part] = _exp(half)
            for q in range(begin, end):
                grown[k + q] = _exp(grown[k + q] - half)
            for q in range(begin, end):
                into[k + q] = dt[place + step * q, h] / grown[k + q]


@_jit
def gate(  # type: ignore[no-untyped-def]
    first, last, summed, eps, scale, projected, y
):
    """Gate and normalise tokens first to last, in place; if `summed`, y[0] becomes the sum."""
    directions, _, length, inner = y.shape
    gate, value = np.empty(inner, dtype=np.float32), np.empty(inner, dtype=np.float32)
    both = np.empty(inner, dtype=np.float32)
    for token in range(first, last):
        row, t = token // length, token % length
        z = projected[row, t]
        for e in range(inner):
            gate[e] = _silu(_get(z, e))
        both[:] = 0
        for direction in range(directions):
            own, squares = y[direction, row, t], np.float32(0)
            for e in range(inner):
                v = _get(own, e) * gate[e]
                value[e] = v
                squares += v * v
            factor = np.float32(1 / np.sqrt(squares / np.float32(inner) + eps))
            for e in range(inner):
                both[e] += value[e] * factor * scale[e]
            if not summed or direction == directions - 1:
                given = y[0 if summed else direction, row, t]
                for e in range(inner):
                    _put(given, e, both[e])
                both[:] = 0


@_jit
def normalise(first, last, eps, scale, x, out):  # type: ignore[no-untyped-def]
    """Scale tokens first to last to a root mean square of 1, and their channels by `scale`."""
    width = x.shape[1]
    value = np.empty(width, dtype=np.float32)
    for token in range(first, last):
        own, given, squares = x[token], out[token], np.float32(0)
        for d in range(width):
            value[d] = _get(own, d)
        for d in range(width):
            squares += value[d] * value[d]
        factor = np.float32(1 / np.sqrt(squares / np.float32(width) + eps))
        for d in range(width):
            _put(given, d, value[d] * factor * scale[d])
