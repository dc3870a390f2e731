"""Entering namespaces; real ones are made as root."""

import os
import threading

import pytest

from meshnode.errors import HostError
from meshnode.host.namespaces import run_inside


def test_descriptor_of_something_else_is_refused() -> None:
    """Only a network namespace can be entered, and no thread is left."""
    threads = threading.active_count()
    with open(os.devnull, "rb") as file, pytest.raises(HostError):
        run_inside(file.fileno(), lambda: None)
    assert threading.active_count() == threads
