"""Vectors as wide as the processor's registers, for the loops that numba does not keep in them.

numba makes vector code of a loop, but moves a state of many vectors to memory and back at every
token. Here such loops are written as vectors, one by one, and inlined into compiled functions.

A vector holds `LANES` channels. Arrays are one-dimensional and contiguous; offsets count items.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

Body = Callable[[Any, "list[Vector]"], "list[Vector]"]
TAPS = 4  # of the convolution; shorter ones are filled with zeros


def _registers() -> tuple[int, int]:
    """Return the lanes of a vector, and how many states stay in registers."""
    has = binding.get_host_cpu_features()
    if has.get("avx512f"):
        return 16, 16
    if has.get("avx2"):
        return 8, 8
    return 4, 16 if "arm64" in binding.get_process_triple() or has.get("neon") else 8


LANES, BLOCK = _registers()
_I32, _I16, _F32 = ir.IntType(32), ir.IntType(16), ir.FloatType()
_FAST = ("contract", "nsz", "nnan", "ninf")


class Vector:
    """`LANES` numbers of float32 in code being written; operators write the instructions."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    @classmethod
    def of(cls, builder: Any, number: Any) -> Vector:
        """Repeat a number, known now or a float32 of the code."""
        if isinstance(number, (int, float)):
            lane = ir.Constant(_F32, float(np.float32(number)))
            return cls(builder, ir.Constant(_vector(_F32), [lane] * LANES))
        one = builder.insert_element(
            ir.Constant(_vector(_F32), ir.Undefined), number, ir.Constant(_I32, 0)
        )
        zeros = ir.Constant(_vector(_I32), [ir.Constant(_I32, 0)] * LANES)
        return cls(builder, builder.shuffle_vector(one, one, zeros))

    def __add__(self, other: Any) -> Vector:
        return self._do("fadd", self, other)

    def __sub__(self, other: Any) -> Vector:
        return self._do("fsub", self, other)

    def __rsub__(self, other: Any) -> Vector:
        return self._do("fsub", other, self)

    def __mul__(self, other: Any) -> Vector:
        return self._do("fmul", self, other)

    def bits(self) -> Any:
        """Return the bits of the numbers as integers."""
        return self.builder.bitcast(self.value, _vector(_I32))

    def _do(self, name: str, a: Any, b: Any) -> Vector:
        a, b = (x if isinstance(x, Vector) else Vector.of(self.builder, x) for x in (a, b))
        return Vector(self.builder, getattr(self.builder, name)(a.value, b.value, flags=_FAST))

    def clipped(self, low: float, high: float) -> Vector:
        """Return the numbers, none below `low` or above `high`."""
        value = self.value
        for bound, order in ((low, "<"), (high, ">")):
            limit = Vector.of(self.builder, bound).value
            beyond = self.builder.fcmp_ordered(order, value, limit, flags=_FAST)
            value = self.builder.select(beyond, limit, value)
        return Vector(self.builder, value)


def _vector(item: Any) -> Any:
    return ir.VectorType(item, LANES)


def _ints(number: int) -> Any:
    return ir.Constant(_vector(_I32), [ir.Constant(_I32, number)] * LANES)


# 2^f for |f| ≤ 1/2 to 1e-7: the polynomial of degree 5 that is nearest at Chebyshev's points
_NODES = np.cos(np.pi * (np.arange(64) + 0.5) / 64) / 2
_POLYNOMIAL = (
    np.polynomial.Chebyshev.fit(_NODES, np.exp2(_NODES), 5)
    .convert(kind=np.polynomial.Polynomial)
    .coef
)


def silu(x: Vector) -> Vector:
    """Write ``x / (1 + exp(-x))``, to 1e-6, without a call or a division."""
    build = x.builder
    t = (x * -math.log2(math.e)).clipped(-100, 100)
    # to the nearest: fptosi cuts off
    positive = build.fptosi((t + 128.5).value, _vector(_I32))
    whole = build.sub(positive, _ints(128))
    f = t - Vector(build, build.sitofp(whole, _vector(_F32)))
    power = Vector.of(build, _POLYNOMIAL[-1])
    for coefficient in _POLYNOMIAL[-2::-1]:
        power = power * f + float(coefficient)
    exponent = build.shl(whole, _ints(23))
    grown = build.bitcast(build.add(power.bits(), exponent), _vector(_F32))
    below = Vector(build, grown) + 1.0
    # 1 / below: a first guess from its bits, then twice r ← r (1 + e + e²) with e = 1 - r below
    guess = build.bitcast(build.sub(_ints(0x7EF311C7), below.bits()), _vector(_F32))
    r = Vector(build, guess)
    for _ in range(2):
        e = 1.0 - r * below
        r = r + r * (e + e * e)
    return x * r


class _Code:
    """Reads and writes the arrays of an intrinsic."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.context, self.builder = context, builder
        self.args, self.types = args, signature.args

    def pointer(self, k: int) -> Any:
        """Return where the array that is argument k begins."""
        return make_array(self.types[k])(self.context, self.builder, self.args[k]).data

    def at(self, pointer: Any, *offsets: Any) -> Any:
        """Return the address of an item, `offsets` together from the first."""
        total = offsets[0]
        for other in offsets[1:]:
            total = self.builder.add(total, other)
        return self.builder.gep(pointer, [total])

    def load(self, pointer: Any, half: bool = False) -> Vector:
        """Read a vector; `half` from the bits of bfloat16."""
        build = self.builder
        item = _I16 if half else _F32
        value = build.load(
            build.bitcast(pointer, _vector(item).as_pointer()), align=2 if half else 4
        )
        if half:
            wide = build.shl(build.zext(value, _vector(_I32)), _ints(16))
            value = build.bitcast(wide, _vector(_F32))
        return Vector(build, value)

    def store(self, vector: Vector, pointer: Any, half: bool = False) -> None:
        """Write a vector; `half` as the bits of bfloat16, rounded to even."""
        build, value = self.builder, vector.value
        if half:
            bits = vector.bits()
            odd = build.and_(build.lshr(bits, _ints(16)), _ints(1))
            rounded = build.add(build.add(bits, _ints(0x7FFF)), odd)
            value = build.trunc(build.lshr(rounded, _ints(16)), _vector(_I16))
        item = _I16 if half else _F32
        build.store(
            value, build.bitcast(pointer, _vector(item).as_pointer()), align=2 if half else 4
        )

    def splat(self, pointer: Any) -> Vector:
        """Read one float32 into all lanes."""
        return Vector.of(self.builder, self.builder.load(pointer))

    def number(self, value: int) -> Any:
        return ir.Constant(ir.IntType(64), value)

    def times(self, a: Any, n: Any) -> Any:
        return self.builder.mul(a, n if not isinstance(n, int) else self.number(n))

    def loop(self, first: Any, last: Any, kept: list[Vector], body: Body) -> list[Vector]:
        """Repeat `body` from `first` to `last`, which is beyond it; it returns the next `kept`."""
        build, before = self.builder, self.builder.block
        inside, after = build.append_basic_block("loop"), build.append_basic_block("after")
        build.branch(inside)
        build.position_at_end(inside)
        index = build.phi(first.type)
        index.add_incoming(first, before)
        phis = []
        for vector in kept:
            phi = build.phi(_vector(_F32))
            phi.add_incoming(vector.value, before)
            phis.append(phi)
        next_ones = body(index, [Vector(build, phi) for phi in phis])
        following = build.add(index, self.number(1))
        end = build.block
        index.add_incoming(following, end)
        for phi, vector in zip(phis, next_ones, strict=True):
            phi.add_incoming(vector.value, end)
        build.cbranch(build.icmp_signed("<", following, last), inside, after)
        build.position_at_end(after)
        return next_ones


def _mix(  # type: ignore[no-untyped-def]
    typing, x, into, at, bc, state, row, y, first, last, begin, n, enter, leave
):
    """Scan tokens first to last in `BLOCK` states of `LANES` channels, from state `begin` of n.

    x and y are tokens × LANES, into[at] and on has a number for each token, bc is tokens × 2 n (B,
    then C) and state n × LANES. The state is multiplied by `enter` before and by `leave` after.
    """

    def code(context, builder, signature, args):  # type: ignore[no-untyped-def]
        c = _Code(context, builder, signature, args)
        of_x, of_into, of_bc, of_state, of_y = map(c.pointer, (0, 1, 3, 4, 6))
        at, row, (first, last, begin, n, enter, leave) = args[2], args[5], args[7:]
        where = [
            c.at(of_state, c.times(builder.add(builder.add(row, begin), c.number(i)), LANES))
            for i in range(BLOCK)
        ]
        enters = Vector.of(builder, enter)
        states = [c.load(place) * enters for place in where]

        def token(q, states):  # type: ignore[no-untyped-def]
            channel = c.times(q, LANES)
            x = c.load(c.at(of_x, channel)) * c.splat(c.at(of_into, at, q))
            b = c.at(of_bc, builder.mul(q, builder.shl(n, c.number(1))), begin)
            of_c = c.at(b, n)
            sums = [c.load(c.at(of_y, channel)), Vector.of(builder, 0.0)]  # two: less waiting
            found = []
            for i, h in enumerate(states):
                h = h + x * c.splat(c.at(b, c.number(i)))
                sums[i % 2] = sums[i % 2] + h * c.splat(c.at(of_c, c.number(i)))
                found.append(h)
            c.store(sums[0] + sums[1], c.at(of_y, channel))
            return found

        leaves = Vector.of(builder, leave)
        for place, h in zip(where, c.loop(first, last, states, token), strict=True):
            c.store(h * leaves, place)
        return context.get_dummy_value()

    return types.void(x, into, at, bc, state, row, y, first, last, begin, n, enter, leave), code


def _convolve(  # type: ignore[no-untyped-def]
    typing, row, begin, origin, step, seen, n, width, weight, channel, taps, bias, out, at, stride
):
    """Convolve n tokens of LANES channels and apply silu: ``out[at + q · stride]`` on.

    Token q is at ``row[(origin + step · q) · width + begin]``; `seen` tokens come before it, in its
    cell. `weight` is TAPS × taps channels, the nearest last.
    """

    def code(context, builder, signature, args):  # type: ignore[no-untyped-def]
        c = _Code(context, builder, signature, args)
        half = signature.args[0].dtype == types.uint16
        of_row, of_weight, of_bias, of_out = (c.pointer(k) for k in (0, 7, 10, 11))
        _, begin, origin, step, seen, n, width, _, channel, channels, _, _, at, stride = args

        def token(q):  # type: ignore[no-untyped-def]
            place = builder.add(origin, builder.mul(step, q))
            return c.load(c.at(of_row, builder.mul(place, width), begin), half)

        weights = [
            c.load(c.at(of_weight, c.times(channels, TAPS - 1 - k), channel)) for k in range(TAPS)
        ]
        bias = c.load(c.at(of_bias, channel))
        zero = Vector.of(builder, 0.0)
        window = []
        for k in range(1, TAPS):  # the tokens before, or zeros
            is_seen = builder.icmp_signed(">=", seen, c.number(k))
            there = builder.select(is_seen, c.number(-k), c.number(0))
            window.append(Vector(builder, builder.select(is_seen, token(there).value, zero.value)))

        def one(q, window):  # type: ignore[no-untyped-def]
            x = token(q)
            near = bias + weights[0] * x
            near = near + weights[1] * window[0]
            far = weights[2] * window[1] + weights[3] * window[2]
            c.store(silu(near + far), c.at(of_out, at, builder.mul(q, stride)))
            return [x, *window[:-1]]

        c.loop(c.number(0), n, window, one)
        return context.get_dummy_value()

    given = (row, begin, origin, step, seen, n, width, weight, channel, taps, bias, out, at, stride)
    return types.void(*given), code


def _write(typing, y, grown, at, x, skip, origin, step, n, width, out, begin):  # type: ignore[no-untyped-def]
    """Write ``y · grown + x · skip`` of n tokens.

    y and x are tokens × LANES, and grown[at] and on has a number for each token. Token q goes to
    ``out[(origin + step · q) · width + begin]``.
    """

    def code(context, builder, signature, args):  # type: ignore[no-untyped-def]
        c = _Code(context, builder, signature, args)
        half = signature.args[9].dtype == types.uint16
        of_y, of_grown, of_x, of_out = (c.pointer(k) for k in (0, 1, 3, 9))
        _, _, at, _, skip, origin, step, n, width, _, begin = args
        skips = Vector.of(builder, skip)

        def one(q, _):  # type: ignore[no-untyped-def]
            channel = c.times(q, LANES)
            found = c.load(c.at(of_y, channel)) * c.splat(c.at(of_grown, at, q))
            found = found + c.load(c.at(of_x, channel)) * skips
            place = builder.add(origin, builder.mul(step, q))
            c.store(found, c.at(of_out, builder.mul(place, width), begin), half)
            return []

        c.loop(c.number(0), n, [], one)
        return context.get_dummy_value()

    return types.void(y, grown, at, x, skip, origin, step, n, width, out, begin), code


mix: Any = intrinsic(_mix)
convolve: Any = intrinsic(_convolve)
write: Any = intrinsic(_write)
