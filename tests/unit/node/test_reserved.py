"""The routing table and the mark of a network."""

from meshnode.manage.config_values import NetworkConfig
from meshnode.node.reserved import fwmark_of, table_of


def test_table_and_mark_are_configured_or_drawn() -> None:
    """A name always draws the same table, outside of those of others."""
    drawn = NetworkConfig(interface="home")
    assert table_of("home", drawn) == table_of("home", drawn)
    assert 10_900 <= table_of("home", drawn) < 10_990
    assert fwmark_of(drawn) == 0x6D6E
    given = NetworkConfig(interface="home", table=7, fwmark=9)
    assert (table_of("home", given), fwmark_of(given)) == (7, 9)
