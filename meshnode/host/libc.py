"""C library calls that Python 3.11 has no function for.

Only integers and ctypes values are passed; whoever calls knows the C prototype.
"""

import ctypes
import os
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def call(function: str, *arguments: object) -> int:
    """Call *function*, which returns an int and sets errno when that is -1.

    Raises:
        OSError: with the errno of the call.
    """
    result = int(getattr(_LIBC, function)(*arguments))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
    return result
