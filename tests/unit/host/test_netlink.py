"""Netlink errors and arguments; the kernel itself is asked as root."""

import errno
import subprocess
import sys

import pytest

from meshnode.errors import ConfigError, HostError, PrivilegeError
from meshnode.host import netlink
from meshnode.types import Prefix


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "disable_ipv6=0"),
        (errno.ENODEV, "gone"),
        (errno.EEXIST, "exists already"),
        (errno.ENETDOWN, "bring it up"),
        (errno.EINVAL, "Invalid argument"),
    ],
)
def test_refusals_name_the_remedy(number: int, remedy: str) -> None:
    """Each errno becomes one line that says what to do."""
    error = netlink._explain("add the route", number)
    assert isinstance(error, HostError)
    assert remedy in str(error)
    assert error.errno == number


def test_missing_privilege_is_told_apart() -> None:
    """EPERM ends the command line with code 5."""
    error = netlink._explain("add the route", errno.EPERM)
    assert isinstance(error, PrivilegeError)
    assert error.exit_code == 5


def test_bad_address_is_refused_before_the_kernel_sees_it() -> None:
    """An address is checked here."""
    with pytest.raises(ConfigError, match="ADDRESS/LENGTH"):
        netlink.add_address(1, "10.0.0.256/24")


def test_route_is_marked_as_ours() -> None:
    """Every route asked for, or deleted, carries our protocol number."""
    fields = netlink._route_fields(Prefix.parse("10.0.0.0/8"), 3, 254)
    assert fields["proto"] == netlink.ROUTE_PROTOCOL
    assert fields["dst"] == "10.0.0.0/8"


def test_supervisor_stays_small() -> None:
    """No module of the package pulls in pyroute2, Trio or asyncio by itself."""
    program = (
        "import pkgutil, importlib, sys, meshnode.host as host\n"
        "for module in pkgutil.iter_modules(host.__path__, 'meshnode.host.'):\n"
        "    importlib.import_module(module.name)\n"
        "print({'pyroute2', 'trio', 'asyncio', 'nacl'} & set(sys.modules))\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "set()\n"
