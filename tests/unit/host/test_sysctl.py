"""Kernel variables: what is refused before the kernel is asked, and its refusals."""

import errno
from pathlib import Path

import pytest

from meshnode.errors import HostError, PrivilegeError
from meshnode.host import sysctl


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree in place of /proc/sys, with one variable."""
    monkeypatch.setattr(sysctl, "_ROOT", tmp_path)
    (tmp_path / "net/ipv4").mkdir(parents=True)
    (tmp_path / "net/ipv4/ip_forward").write_text("0\n")
    return tmp_path


def test_value_is_read_and_written(root: Path) -> None:
    """Without the line feed."""
    assert sysctl.read("net/ipv4/ip_forward") == "0"
    sysctl.write("net/ipv4/ip_forward", "1")
    assert sysctl.read("net/ipv4/ip_forward") == "1"


def test_missing_variable_is_none_and_is_not_made(root: Path) -> None:
    """An interface that went takes its variables along."""
    assert sysctl.read("net/ipv6/conf/eth0/accept_ra") is None
    assert sysctl.read("net/ipv4/ip_forward/more") is None
    with pytest.raises(HostError):
        sysctl.write("net/ipv4/other", "1")
    assert not (root / "net/ipv4/other").exists()


@pytest.mark.parametrize(
    "key", ["kernel/core_pattern", "net/../kernel/core_pattern", "/etc/passwd", "net"]
)
def test_only_the_network_is_reached(root: Path, key: str) -> None:
    """A journal that was tampered with reaches no further."""
    with pytest.raises(HostError, match="no variable of the network"):
        sysctl.read(key)
    with pytest.raises(HostError, match="no variable of the network"):
        sysctl.write(key, "x")


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (errno.EPERM, PrivilegeError, "CAP_NET_ADMIN"),
        (errno.EACCES, PrivilegeError, "CAP_NET_ADMIN"),
        (errno.EROFS, HostError, r"--sysctl net\.ipv4\.ip_forward=1"),
        (errno.EINVAL, HostError, "Invalid argument"),
    ],
)
def test_refusals_name_the_remedy(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[HostError],
    remedy: str,
) -> None:
    """In a container /proc/sys is often read-only."""

    def refuse(*arguments: object) -> int:
        raise OSError(number, "refused")

    monkeypatch.setattr("meshnode.host.sysctl.os.open", refuse)
    with pytest.raises(kind, match=remedy) as caught:
        sysctl.write("net/ipv4/ip_forward", "1")
    assert caught.value.errno == number
