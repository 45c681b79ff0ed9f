"""Tables out of pickles, by an unpickler that can call nothing.

Python's unpickler runs what a file tells it to run. This one keeps the opcodes that a ``dict`` of
text and numbers needs. The only two globals are those by which numpy writes its scalars, and they
are replaced by stand-ins. (The one in C would fill memory for a memo with a large number.)
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genemamba.errors import CheckpointError, shown
from genemamba.network.files import AGAIN

MOST_BYTES = 4 * 2**20  # Geneformer's largest has 1.1 MB
LONGEST_TEXT = 1_000
_OPCODES = (
    pickle.PROTO + pickle.FRAME + pickle.STOP
    + pickle.MEMOIZE + pickle.BINPUT + pickle.LONG_BINPUT + pickle.BINGET + pickle.LONG_BINGET
    + pickle.SHORT_BINUNICODE + pickle.BINUNICODE + pickle.SHORT_BINBYTES
    + pickle.BININT + pickle.BININT1 + pickle.BININT2 + pickle.LONG1 + pickle.BINFLOAT
    + pickle.NONE + pickle.NEWTRUE + pickle.NEWFALSE
    + pickle.MARK + pickle.TUPLE + pickle.TUPLE1 + pickle.TUPLE2 + pickle.TUPLE3
    + pickle.EMPTY_DICT + pickle.SETITEM + pickle.SETITEMS
    + pickle.GLOBAL + pickle.STACK_GLOBAL + pickle.REDUCE + pickle.BUILD
)  # fmt: skip
_NUMBERS = ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
_LITTLE_ENDIAN = tuple((3, order, None, None, None, -1, -1, 0) for order in "<|")


def read_table(path: Path) -> dict[str, str | int | float]:
    """Read a pickled ``dict`` from text to text or number.

    Raises
    ------
    CheckpointError
        If the file is too large, damaged, or holds anything else.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise pickle.UnpicklingError(f"{size} bytes, more than {MOST_BYTES}")
        unpickler = _Unpickler(io.BytesIO(path.read_bytes()))
        table = unpickler.load()
        if type(table) is not dict or unpickler.stack or unpickler.metastack:
            raise pickle.UnpicklingError("its end leaves something else than one dict")
        return table
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error})", AGAIN) from None
    except Exception as error:  # damaged bytes can raise any
        raise CheckpointError(
            f"{path} is damaged or no plain table of text and numbers "
            f"({type(error).__name__}: {error}); nothing in it was executed",
            AGAIN,
        ) from None


class _Allowed(dict[int, Any]):
    def __missing__(self, opcode: int) -> None:
        raise pickle.UnpicklingError(f"opcode {bytes([opcode])!r}")


class _Dtype:
    """A replacement of numpy.dtype."""

    def __init__(self, code: Any, *_: Any) -> None:
        if code not in _NUMBERS:
            raise pickle.UnpicklingError("a dtype that is no plain number")
        self.code = f"<{code}"


def _scalar(dtype: _Dtype, data: bytes) -> int | float:
    """Replace numpy's unpickler of scalars."""
    return np.frombuffer(data, dtype.code).item()


_GLOBALS = {
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy.dtype": _Dtype,
}


class _Unpickler(pickle._Unpickler):
    stack: list[Any]
    metastack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def find_class(self, module: str, name: str) -> Any:
        """Return a stand-in; never import."""
        if (wanted := f"{module}.{name}") not in _GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {shown(wanted)}")
        return _GLOBALS[wanted]

    def load_build(self) -> None:
        """Accept the state of a little-endian dtype, which changes nothing."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], _Dtype) or state not in _LITTLE_ENDIAN:
            raise pickle.UnpicklingError("an object with a state")

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set(key, value)

    def load_setitems(self) -> None:
        items = self.pop_mark()
        for key, value in zip(items[::2], items[1::2], strict=True):
            self._set(key, value)

    def _set(self, key: Any, value: Any) -> None:
        table = self.stack[-1]  # types first: to hash or to compare another key could take forever
        if type(table) is not dict or type(key) is not str:
            raise pickle.UnpicklingError(f"an entry {type(key).__name__} of {type(table).__name__}")
        if key in table:
            raise pickle.UnpicklingError(f"{key!a} occurs twice")
        number = type(value) in (int, float) and abs(value) < 2**64  # nor NaN
        if not (number or (type(value) is str and len(value.encode()) <= LONGEST_TEXT)):
            raise pickle.UnpicklingError(
                f"a {type(value).__name__} that is no plain text or number"
            )
        table[key] = value

    dispatch = _Allowed({code: pickle._Unpickler.dispatch[code] for code in _OPCODES})
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
