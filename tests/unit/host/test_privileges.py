"""Reading what a process may do."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.host.privileges import Privileges, current_privileges, parse_status

STATUS = """Name:\tpython
Uid:\t1\t2\t3\t4
Gid:\t5\t6\t7\t8
Groups:\t9 10
CapInh:\t0000000000000001
CapPrm:\t0000000000000002
CapEff:\t0000000000000004
CapBnd:\t000001ffffffffff
CapAmb:\t0000000000000008
NoNewPrivs:\t1
"""


def test_status_is_read() -> None:
    """Every field goes where it belongs."""
    assert parse_status(STATUS) == Privileges(
        uids=(1, 2, 3, 4),
        gids=(5, 6, 7, 8),
        groups=(9, 10),
        inheritable=1,
        permitted=2,
        effective=4,
        bounding=0x1FFFFFFFFFF,
        ambient=8,
        no_new_privs=True,
    )


@pytest.mark.parametrize("field", ["Uid", "Groups", "CapBnd", "NoNewPrivs"])
def test_missing_field_is_an_error(field: str) -> None:
    """A status without a field we rely on is not believed."""
    text = "".join(
        line for line in STATUS.splitlines(keepends=True) if field not in line
    )
    with pytest.raises(ValueError, match="not the status"):
        parse_status(text)


@given(st.text(max_size=200))
def test_any_text_is_refused_cleanly(text: str) -> None:
    """Only ValueError is ever raised."""
    with pytest.raises(ValueError):  # noqa: PT011 - int() raises its own
        parse_status(text)


def test_current_privileges_are_ours() -> None:
    """The kernel tells of this very process."""
    found = current_privileges()
    assert found.uids[:2] == (os.getuid(), os.geteuid())
    assert set(found.groups) == set(os.getgroups())
