"""Network namespaces without names: they go with their last descriptor.

A process keeps its namespace; only a thread made for the purpose enters another
(setns(2)), so nothing has to be restored and nothing can be left behind. The labs,
tools and tests run their networks in these.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from meshnode.errors import HostError, PrivilegeError
from meshnode.host import libc

_CLONE_NEWNET = 0x40000000

Result = TypeVar("Result")


def create_namespace() -> int:
    """Return the descriptor of a new, empty network namespace.

    Raises:
        PrivilegeError: without CAP_SYS_ADMIN.
    """
    return _in_thread(lambda: _enter("unshare", ctypes.c_int(_CLONE_NEWNET)), _own)


def run_inside(namespace: int, function: Callable[[], Result]) -> Result:
    """Call *function* in a thread that is in the network namespace *namespace*.

    Sockets and TUN devices opened there belong to that namespace for good. What
    *function* raises is raised here.

    Raises:
        PrivilegeError: without CAP_SYS_ADMIN.
    """
    return _in_thread(lambda: enter_namespace(namespace), function)


def enter_namespace(namespace: int) -> None:
    """Put the calling thread into the network namespace *namespace*, for good.

    Raises:
        PrivilegeError: without CAP_SYS_ADMIN over it.
    """
    _enter("setns", ctypes.c_int(namespace), ctypes.c_int(_CLONE_NEWNET))


def _own() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _enter(function: str, *arguments: object) -> None:
    try:
        libc.call(function, *arguments)
    except PermissionError as error:
        raise PrivilegeError(
            "not allowed to enter a network namespace: run as root", errno=1
        ) from error
    except OSError as error:
        raise HostError(
            f"cannot enter a network namespace: {error.strerror}",
            errno=error.errno or 5,
        ) from error


def _in_thread(enter: Callable[[], None], function: Callable[[], Result]) -> Result:
    results: list[Result] = []
    failures: list[BaseException] = []

    def body() -> None:
        try:
            enter()
            results.append(function())
        except BaseException as failure:  # handed to the caller, whatever it is
            failures.append(failure)

    thread = threading.Thread(target=body, name="namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
