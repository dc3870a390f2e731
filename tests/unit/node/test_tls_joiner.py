"""The way by TLS of who joins: in a thread, and without waiting for it."""

import socket
import time
from collections.abc import Callable

import trio

from meshnode.manage.config_values import TlsSettings
from meshnode.node.tls_joiner import TlsJoiner
from tests.unit.node.tls_parts import KEY, LOCAL, echoing_node, serving


def await_true(condition: Callable[[], object]) -> None:
    """Look again until *condition* holds, at most 10 s."""
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


async def test_issuer_is_behind_a_local_endpoint() -> None:
    """What is sent there comes back from it, to our own port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind((LOCAL, 0))
        ours.settimeout(10)
        async with echoing_node() as port, serving(port) as place:
            settings = TlsSettings(port=place.port)
            joiner = TlsJoiner(KEY, (LOCAL,), settings, ours.getsockname()[1])
            assert not joiner.has_started

            def use() -> bytes:
                joiner.start()
                await_true(lambda: joiner.endpoint)
                assert joiner.endpoint is not None
                ours.sendto(b"hello", (LOCAL, joiner.endpoint.port))
                return ours.recv(100)

            assert await trio.to_thread.run_sync(use) == b"hello"
            await trio.to_thread.run_sync(joiner.close)


def test_why_nobody_is_there() -> None:
    """For the line that says what was tried; closing ends it."""
    joiner = TlsJoiner(KEY, (LOCAL,), TlsSettings(port=1), 9)
    joiner.close()
    joiner.start()
    await_true(lambda: joiner.problem)
    assert joiner.problem == "127.0.0.1:1: Connection refused"
    assert joiner.endpoint is None
    joiner.close()
