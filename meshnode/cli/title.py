"""Overwrite the command line that other users of the host can read (proc(5))."""

import ctypes

_START, _END = 48 - 3, 49 - 3  # arg_start and arg_end, counted after the name


def hide_arguments() -> None:
    """Fill the arguments of this process with zeros, behind the program's name.

    What cannot be overwritten stays as it is: the kernel may not tell where it is.
    """
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    with open("/proc/self/cmdline", "rb") as cmdline:
        line = cmdline.read()
    start, end = int(fields[_START]), int(fields[_END])
    if not start or end - start != len(line):
        return
    kept = line.find(b"\0") + 1
    ctypes.memset(start + kept, 0, end - start - kept)
