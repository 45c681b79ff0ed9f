"""The passes between the matrix products of :mod:`~genemamba.network.compiled`, compiled by numba.

Arrays hold float32, or the bits of bfloat16; all is computed in float32. The innermost loops run
from 0 to the length of an array, without calls, so that the compiler vectorises them.

Shapes: B cells, R rows (cells × directions), L tokens, C chunks of Q tokens, E inner width,
H heads, P head channels, N states, K = E + 2 N channels of the convolution, W taps, T = E + K + H.
Row r reads cell r % B, backwards from r = B on.

dt, a          B × L × H             steps, and decays dt · A
segment        B × L                 the cell of a token
projected      B × L × T             z, xBC and dt
x, y           R C × Q × H × P       input and output of the scan
scaled         R C × Q × H × P       x · dt / growth
b, kept        R C × Q × N           B, and B of the tokens that the chunk's last one sees
reading, carried                     C, and C of the tokens that see the chunk before
scores         R C × Q × Q           C Bᵀ
states         R C × N × E           what a chunk adds to the state; then the state before it
growth         R C × Q × H           exp(sum of decays - its middle)
joined         R C                   1 where a chunk's last token sees the chunk before, else 0
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic, overload

# a division that may raise is not made vector code
_FAST: dict[str, Any] = {"fastmath": True, "error_model": "numpy"}
_jit = njit(nogil=True, cache=True, **_FAST)
_inline = njit(cache=True, inline="always", **_FAST)
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
def lay_out(  # type: ignore[no-untyped-def]
    first, last, rows, projected, dt, a, segment, weight, bias,
    x, scaled, b, kept, reading, carried, growth, joined,
):  # fmt: skip
    """Convolve chunks first to last and write the inputs of the scan: x, x dt / growth, B and C."""
    length, (size, heads, width) = dt.shape[1], x.shape[1:]
    inner, states, chunks = heads * width, b.shape[2], -(-length // size)
    u = np.empty(weight.shape[1], dtype=np.float32)
    u_hp = u[:inner].reshape(heads, width)
    u_b, u_c = u[inner : inner + states], u[inner + states :]
    total = np.empty(heads, dtype=np.float32)
    for chunk in range(first, last):
        row, start = chunk // chunks, chunk % chunks * size
        step, origin = (-1, length - 1) if row >= rows else (1, 0)
        cell, n = row % rows, min(size, length - start)
        total[:] = 0
        for q in range(size):
            for h in range(heads):
                total[h] += a[cell, origin + step * (start + q), h] if q < n else np.float32(0)
                growth[chunk, q, h] = total[h]
        for q in range(size):
            for h in range(heads):
                growth[chunk, q, h] = _exp(growth[chunk, q, h] - total[h] / np.float32(2))
        end = segment[cell, origin + step * (start + n - 1)]
        before = segment[cell, origin + step * (start - 1)] if start else end
        joined[chunk] = 1 if start and before == end else 0
        for q in range(n):
            t = origin + step * (start + q)
            own = segment[cell, t]
            _convolve(projected[cell], segment[cell], weight, bias, inner, t, step, u)
            for h in range(heads):
                into = dt[cell, t, h] / growth[chunk, q, h]
                u_h, x_h, scaled_h = u_hp[h], x[chunk, q, h], scaled[chunk, q, h]
                for p in range(width):
                    _put(x_h, p, u_h[p])
                    _put(scaled_h, p, u_h[p] * into)
            to_end, from_start = np.float32(own == end), np.float32(start > 0 and own == before)
            b_q, kept_q = b[chunk, q], kept[chunk, q]
            reading_q, carried_q = reading[chunk, q], carried[chunk, q]
            for s in range(states):
                _put(b_q, s, u_b[s])
                _put(kept_q, s, u_b[s] * to_end)
                _put(reading_q, s, u_c[s])
                _put(carried_q, s, u_c[s] * from_start)
        x[chunk, n:], scaled[chunk, n:], b[chunk, n:], kept[chunk, n:] = 0, 0, 0, 0
        reading[chunk, n:], carried[chunk, n:] = 0, 0


@_jit
def _convolve(projected, segment, weight, bias, begin, t, step, out):  # type: ignore[no-untyped-def]
    """Compute ``silu(bias + Σ_s weight[W - 1 - s] · x_{t - s})``, s < W, in t's segment."""
    taps, channels = weight.shape
    seen = 1
    while seen < taps:
        other = t - step * seen
        if other < 0 or other >= len(segment) or segment[other] != segment[t]:
            break
        seen += 1
    end = begin + channels
    if seen == taps == 4:  # everywhere but at the start of a cell, and in one loop
        x0, x1 = projected[t, begin:end], projected[t - step, begin:end]
        x2, x3 = projected[t - 2 * step, begin:end], projected[t - 3 * step, begin:end]
        w0, w1, w2, w3 = weight[3], weight[2], weight[1], weight[0]
        for k in range(channels):
            near = w0[k] * _get(x0, k) + w1[k] * _get(x1, k)
            far = w2[k] * _get(x2, k) + w3[k] * _get(x3, k)
            out[k] = _silu(bias[k] + near + far)
        return
    out[:] = bias
    for shift in range(seen):
        x, tap = projected[t - step * shift, begin:end], weight[taps - 1 - shift]
        for k in range(channels):
            out[k] += tap[k] * _get(x, k)
    for k in range(channels):
        out[k] = _silu(out[k])


@_jit
def mask(first, last, rows, segment, scores):  # type: ignore[no-untyped-def]
    """Hide from every token those after it and those of another cell."""
    length, size = segment.shape[1], scores.shape[1]
    chunks = -(-length // size)
    for chunk in range(first, last):
        row, start = chunk // chunks, chunk % chunks * size
        step, origin = (-1, length - 1) if row >= rows else (1, 0)
        for q in range(min(size, length - start)):
            own = segment[row % rows, origin + step * (start + q)]
            for k in range(q):
                if segment[row % rows, origin + step * (start + k)] != own:
                    scores[chunk, q, k] = 0
            scores[chunk, q, q + 1 :] = 0


@_jit
def carry(first, last, chunks, half, keep, states):  # type: ignore[no-untyped-def]
    """Replace what each chunk adds to the state by the state before it."""
    count, inner = states.shape[1:]
    state = np.empty(inner, dtype=np.float32)
    for task in range(first, last):
        row, s = task // count, task % count
        state[:] = 0
        for chunk in range(row * chunks, (row + 1) * chunks):
            own, h, k = states[chunk, s], half[chunk], keep[chunk]
            for e in range(inner):
                gained = _get(own, e)
                _put(own, e, h[e] * state[e])
                state[e] = k[e] * state[e] + h[e] * gained


@_jit
def gate(  # type: ignore[no-untyped-def]
    first, last, directions, summed, eps, skip, scale, y, x, growth, projected, out
):  # fmt: skip
    """Undo the split of decays, add the skip, gate, and normalise tokens first to last."""
    rows, length, inner = out.shape[1:]
    size, heads, width = x.shape[1:]
    chunks = -(-length // size)
    gate, value = np.empty(inner, dtype=np.float32), np.empty(inner, dtype=np.float32)
    gate_hp, value_hp = gate.reshape(heads, width), value.reshape(heads, width)
    both = np.empty(inner, dtype=np.float32)
    for token in range(first, last):
        row, t = token // length, token % length
        z = projected[row, t]
        for e in range(inner):
            gate[e] = _silu(_get(z, e))
        both[:] = 0
        for direction in range(directions):
            i = length - 1 - t if direction else t
            chunk, q = (direction * rows + row) * chunks + i // size, i % size
            squares = np.float32(0)
            for h in range(heads):
                grown, d = growth[chunk, q, h], skip[h]
                y_h, x_h, g_h, v_h = y[chunk, q, h], x[chunk, q, h], gate_hp[h], value_hp[h]
                for p in range(width):
                    v = (grown * _get(y_h, p) + d * _get(x_h, p)) * g_h[p]
                    v_h[p] = v
                    squares += v * v
            factor = np.float32(1 / np.sqrt(squares / np.float32(inner) + eps))
            for e in range(inner):
                both[e] += value[e] * factor * scale[e]
            if not summed or direction == directions - 1:
                given = out[0 if summed else direction, row, t]
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
