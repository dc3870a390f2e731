"""The command line that others can read, before and after it is hidden."""

import subprocess
import sys

SCRIPT = """
import sys
from meshnode.cli.title import hide_arguments
hide_arguments()
print(sys.argv[1:])
print(open("/proc/self/cmdline", "rb").read())
print(open("/proc/self/environ", "rb").read().count(b"MARK=kept"))
"""


def test_arguments_are_overwritten_and_nothing_else() -> None:
    """The program keeps its own copy, its name and its environment."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "mn1secret", "--name", "x"],
        capture_output=True,
        check=True,
        env={"MARK": "kept"},
        timeout=60,
    )
    arguments, shown, kept = done.stdout.decode().splitlines()
    assert arguments == "['mn1secret', '--name', 'x']"
    name = sys.executable.encode()
    assert shown.startswith(repr(name + b"\0")[:-1])
    assert "mn1secret" not in shown
    assert shown.replace("\\x00", "") == repr(name)
    assert kept == "1"


def test_hiding_twice_is_harmless() -> None:
    """There is nothing left to overwrite."""
    script = f"{SCRIPT}\nhide_arguments()\n"
    subprocess.run(
        [sys.executable, "-c", script, "a"], check=True, capture_output=True, timeout=60
    )
