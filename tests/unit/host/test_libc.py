"""Calls into the C library."""

import ctypes
import errno

import pytest

from meshnode.host import libc


def test_result_is_returned() -> None:
    """What the function returns is handed on."""
    assert libc.call("abs", ctypes.c_int(-5)) == 5


def test_failure_raises_its_errno() -> None:
    """Minus one becomes an OSError that names the call."""
    with pytest.raises(OSError, match="close") as caught:
        libc.call("close", ctypes.c_int(-1))
    assert caught.value.errno == errno.EBADF
