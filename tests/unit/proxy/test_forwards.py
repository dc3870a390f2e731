"""Forwarded ports as users write them."""

import pytest

from meshnode.errors import UsageError
from meshnode.proxy.forwards import Forward, Transport, Way
from meshnode.types import Endpoint


@pytest.mark.parametrize(
    ("text", "listen", "target"),
    [
        ("tcp:8080:80", "127.0.0.1:8080", "127.0.0.1:80"),
        ("tcp:8080:10.77.0.1:80", "127.0.0.1:8080", "10.77.0.1:80"),
        ("tcp:0.0.0.0:8080:80", "0.0.0.0:8080", "127.0.0.1:80"),
        ("tcp:[::1]:8080:[FD00::1]:80", "[::1]:8080", "[fd00::1]:80"),
        ("tcp:1:[::1]:65535", "127.0.0.1:1", "[::1]:65535"),
    ],
)
def test_addresses_may_be_left_out(text: str, listen: str, target: str) -> None:
    """Loopback is meant then: nobody else is let in unless that is said."""
    forward = Forward.from_option(Way.INTO, text)
    assert forward.transport is Transport.TCP
    assert (str(forward.listen), str(forward.target)) == (listen, target)


def test_members_come_in_at_all_addresses_of_the_node() -> None:
    """In the mesh's network there is nobody but them; the host's end is loopback."""
    forward = Forward.from_option(Way.OUT_OF, "udp:53:5353")
    assert forward.transport is Transport.UDP
    assert forward.listen == Endpoint("::", 53)
    assert forward.target == Endpoint("127.0.0.1", 5353)
    only = Forward.from_option(Way.OUT_OF, "tcp:10.77.0.2:22:192.0.2.1:2222")
    assert str(only.listen) == "10.77.0.2:22"


@pytest.mark.parametrize(
    "text",
    [
        *("", "tcp", "tcp:", "tcp:80", "sctp:1:2", "TCP:1:2", "tcp:0:1", "tcp:1:65536"),
        *(
            "tcp:1:2:3",
            "tcp:web:80",
            "tcp:1:web:80",
            "tcp:1:2:",
            "tcp::1:2",
            "tcp:-1:2",
        ),
        *("tcp:::1:80:80", "tcp:[10.0.0.1]:80:80", "tcp:[::1]80:80", "tcp:[::1:80:80"),
        *("tcp:[fe80::1%2]:80:80", "tcp:1:2:3:4", "tcp:²:2", "tcp:1:٣"),
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    """Names are none of it: nobody here could ask for them."""
    with pytest.raises(UsageError, match="such as tcp:8080") as caught:
        Forward.from_option(Way.INTO, text)
    assert caught.value.exit_code == 2


def test_text_of_another_way_is_no_forward() -> None:
    """What a process is told must be exact."""
    with pytest.raises(ValueError, match="sideways"):
        Forward.parse("sideways=tcp:1:2")
