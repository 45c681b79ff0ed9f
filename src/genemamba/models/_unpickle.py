"""Tables out of pickles, without pickle: nothing in the file can be called.

Python's unpickler runs what a file tells it to run. This one is a small machine of its own that
knows the few opcodes a ``dict`` of strings and numbers needs. Of all globals it knows two, by which
numpy writes its scalars, and they are labels here, not functions.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from genemamba.errors import CheckpointError
from genemamba.network.header import AGAIN

MOST_BYTES = 4 * 2**20  # Geneformer's largest has 1.1 MB
MOST_STEPS = 1_500_000  # it takes 300,000
LONGEST_TEXT = 1_000

_SCALAR, _DTYPE = "numpy scalar", "numpy dtype"
_GLOBALS = {
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("numpy", "dtype"): _DTYPE,
}
_FORMATS = {
    "f4": "<f", "f8": "<d", "i1": "<b", "i2": "<h", "i4": "<i", "i8": "<q",
    "u1": "<B", "u2": "<H", "u4": "<I", "u8": "<Q",
}  # fmt: skip
_LITTLE = ((3, "<", None, None, None, -1, -1, 0), (3, "|", None, None, None, -1, -1, 0))


class _Refused(Exception):
    """The file asks for something that a table of strings and numbers does not need."""


@dataclass(frozen=True)
class _Global:
    what: str


@dataclass(frozen=True)
class _Dtype:
    code: str


def read_table(path: Path) -> dict[str, str | int | float]:
    """Read a pickled ``dict`` from text to text or number, and nothing else.

    Raises
    ------
    CheckpointError
        If the file is too large, damaged, or holds anything else.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise _Refused(f"{size} bytes, more than {MOST_BYTES}")
        return _Machine(path.read_bytes()).run()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error})", AGAIN) from None
    except _Refused as error:
        raise CheckpointError(
            f"{path} is damaged or no plain table of text and numbers: {error}; "
            "nothing in it was executed",
            AGAIN,
        ) from None


class _Machine:
    """A stack, a memo, and a position in the bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> dict[str, str | int | float]:
        steps = self.steps
        for _ in range(MOST_STEPS):
            opcode = self.take(1)
            if opcode == b".":
                return self.result()
            if opcode not in steps:
                raise _Refused(f"opcode {opcode!r} at byte {self.at - 1}")
            steps[opcode](self)
        raise _Refused(f"more than {MOST_STEPS} steps")

    def result(self) -> dict[str, str | int | float]:
        if len(self.stack) != 1 or self.marks or not isinstance(self.stack[0], dict):
            raise _Refused("its end leaves something else than one dict")
        return self.stack[0]

    def take(self, n: int) -> bytes:
        taken = self.data[self.at : self.at + n]
        if len(taken) != n:
            raise _Refused(f"it ends within {n} bytes announced at byte {self.at}")
        self.at += n
        return taken

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise _Refused(f"the stack is empty at byte {self.at}")
        return self.stack.pop()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def text(self, form: str) -> None:
        length = self.number(form)
        if length > LONGEST_TEXT:
            raise _Refused(f"a text of {length} characters")
        try:
            self.push(self.take(length).decode("utf-8"))
        except UnicodeDecodeError:
            raise _Refused(f"text that is not UTF-8 at byte {self.at}") from None

    def short_bytes(self) -> None:
        self.push(self.take(self.number("<B")))

    def long(self) -> None:
        length = self.number("<B")
        if length > 8:
            raise _Refused(f"a number of {length} bytes")
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def real(self) -> None:
        self.push(struct.unpack(">d", self.take(8))[0])

    def mark(self) -> None:
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        if not self.marks:
            raise _Refused(f"no mark at byte {self.at}")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def tuple_of(self, n: int) -> None:
        items = [self.pop() for _ in range(n)]
        self.push(tuple(reversed(items)))

    def remember(self, key: int) -> None:
        top = self.pop()
        self.memo[key] = top
        self.push(top)

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise _Refused(f"memo {key} is empty")
        self.push(self.memo[key])

    def set_items(self, items: list[Any]) -> None:
        table = self.pop()
        if not isinstance(table, dict) or len(items) % 2:
            raise _Refused("items for something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str or type(value) not in (str, int, float):
                raise _Refused(f"an entry {type(key).__name__}: {type(value).__name__}")
            if key in table:
                raise _Refused(f"{key!a} occurs twice")
            table[key] = value
        self.push(table)

    def set_item(self) -> None:
        value = self.pop()
        self.set_items([self.pop(), value])

    def find_global(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise _Refused("a global without a name")
        if (module, name) not in _GLOBALS:
            raise _Refused(f"it asks for {f'{module}.{name}'[:80]!a}")
        self.push(_Global(_GLOBALS[module, name]))

    def global_lines(self) -> None:
        end = self.data.find(b"\n", self.at, self.at + 200)
        after = self.data.find(b"\n", end + 1, end + 200)
        if min(end, after) < 0:
            raise _Refused("a global without a name")
        names = self.take(after + 1 - self.at).decode("ascii", "replace").split("\n")
        self.find_global(names[0], names[1])

    def global_stack(self) -> None:
        name = self.pop()
        self.find_global(self.pop(), name)

    def reduce(self) -> None:
        """Build a numpy dtype or scalar; there is nothing else to be called."""
        arguments, what = self.pop(), self.pop()
        if not (isinstance(what, _Global) and isinstance(arguments, tuple)):
            raise _Refused("a call")
        code = arguments[0] if arguments and type(arguments[0]) is str else ""
        if what.what == _DTYPE and len(arguments) == 3 and code in _FORMATS:
            self.push(_Dtype(code))
        elif what.what == _SCALAR and len(arguments) == 2 and isinstance(arguments[0], _Dtype):
            self.push(_scalar(*arguments))
        else:
            raise _Refused(f"a {what.what} that is no plain number")

    def build(self) -> None:
        """Accept the state of a little-endian dtype, which says nothing new."""
        state = self.pop()
        top = self.pop()
        if not isinstance(top, _Dtype) or state not in _LITTLE:
            raise _Refused("an object with a state")
        self.push(top)

    steps: ClassVar[dict[bytes, Callable[[_Machine], Any]]] = {
        b"\x8c": lambda m: m.text("<B"),  # SHORT_BINUNICODE
        b"X": lambda m: m.text("<I"),  # BINUNICODE
        b"\x94": lambda m: m.remember(len(m.memo)),  # MEMOIZE
        b"q": lambda m: m.remember(m.number("<B")),  # BINPUT
        b"r": lambda m: m.remember(m.number("<I")),  # LONG_BINPUT
        b"h": lambda m: m.recall(m.number("<B")),  # BINGET
        b"j": lambda m: m.recall(m.number("<I")),  # LONG_BINGET
        b"C": short_bytes,  # SHORT_BINBYTES
        b"K": lambda m: m.push(m.number("<B")),  # BININT1
        b"M": lambda m: m.push(m.number("<H")),  # BININT2
        b"J": lambda m: m.push(m.number("<i")),  # BININT
        b"\x8a": long,  # LONG1
        b"G": real,  # BINFLOAT
        b"N": lambda m: m.push(None),  # NONE
        b"\x88": lambda m: m.push(True),  # NEWTRUE
        b"\x89": lambda m: m.push(False),  # NEWFALSE
        b"(": mark,  # MARK
        b"t": lambda m: m.push(tuple(m.since_mark())),  # TUPLE
        b"\x85": lambda m: m.tuple_of(1),  # TUPLE1
        b"\x86": lambda m: m.tuple_of(2),  # TUPLE2
        b"\x87": lambda m: m.tuple_of(3),  # TUPLE3
        b"}": lambda m: m.push({}),  # EMPTY_DICT
        b"u": lambda m: m.set_items(m.since_mark()),  # SETITEMS
        b"s": set_item,  # SETITEM
        b"c": global_lines,  # GLOBAL
        b"\x93": global_stack,  # STACK_GLOBAL
        b"R": reduce,  # REDUCE
        b"b": build,  # BUILD
        b"\x80": lambda m: m.take(1),  # PROTO
        b"\x95": lambda m: m.take(8),  # FRAME
    }


def _scalar(dtype: _Dtype, data: Any) -> int | float:
    form = _FORMATS[dtype.code]
    if not isinstance(data, bytes) or len(data) != struct.calcsize(form):
        raise _Refused(f"a number of type {dtype.code} with other bytes")
    value: int | float = struct.unpack(form, data)[0]
    if not math.isfinite(value):
        raise _Refused("a number that is NaN or infinite")
    return value
