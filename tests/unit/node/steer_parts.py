"""Sockets in the place of transparent ones, which only root can open."""

import socket

import pytest

from meshnode.codec.steer_link import TCP, UDP
from meshnode.node import steer_doors, steer_keeper


def _open(version: int, kind: socket.SocketKind) -> socket.socket | None:
    if version == 6:
        return None  # as on a host without it
    one = socket.socket(socket.AF_INET, kind)
    one.setblocking(False)
    one.bind(("127.0.0.1", 0))
    if kind is socket.SOCK_STREAM:
        one.listen()
    return one


def replace_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let doors have sockets that anybody may open."""
    monkeypatch.setitem(steer_doors._OPEN, TCP, lambda v: _open(v, socket.SOCK_STREAM))
    monkeypatch.setitem(steer_doors._OPEN, UDP, lambda v: _open(v, socket.SOCK_DGRAM))
    monkeypatch.setattr(
        steer_keeper,
        "open_answering",
        lambda version: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    )
