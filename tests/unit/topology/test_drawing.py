"""The picture of a description: each member has its dot, each wire its length."""

from xml.etree import ElementTree as ET

import pytest

from topology.description import Description
from topology.drawing import as_svg, as_text
from topology.parsing import parse


@pytest.fixture
def described() -> Description:
    """Three hosts; the one in the middle is passed by the first LAN."""
    return parse(
        """
        network = { name = "n", cidr = "10.0.0.0/8" }
        node = [
          { name = "a", runs = "plain" },
          { name = "b", runs = "router" },
          { name = "c", runs = "plain" },
        ]
        [[lan]]
        name = "outer"
        prefix = "198.18.0.0/24"
        members = ["a", "c"]
        latency = "20ms"
        loss = "1%"
        rate = "10mbit"
        [[lan]]
        name = "inner"
        prefix = "192.168.1.0/24"
        prefix6 = "fd01::/64"
        members = ["c", "b"]
        """,
        "picture.toml",
    )


def test_text_has_nodes_as_columns_and_lans_as_rows(described: Description) -> None:
    """Dots where a node is in a LAN, crossings where one passes the other."""
    assert as_text(described).splitlines() == [
        "n: overlay 10.0.0.0/8",
        "",
        "           a        b        c",
        "         plain    router   plain",
        "outer      ●────────┼────────●      198.18.0.0/24, 20 ms, 1 % lost, 10 Mbit/s",
        "            .1      │        │.2",
        "inner               ●────────●      192.168.1.0/24, fd01::/64",
        "                     .2       .1",
    ]


def test_svg_is_well_formed_and_has_every_member(described: Description) -> None:
    """One circle a member, and each address."""
    root = ET.fromstring(as_svg(described))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    circles = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(circles) == 4
    assert {"198.18.0.1", "198.18.0.2", "192.168.1.1", "192.168.1.2"} <= set(texts)
