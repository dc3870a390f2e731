"""Names of interfaces and the paths made of them."""

import pytest

from meshnode.errors import UsageError
from meshnode.manage.paths import UAPI_DIR, check_interface_name, uapi_socket


@pytest.mark.parametrize("name", ["wg0", "a", "A_b=c+d.e-f", "x" * 15, "..."])
def test_names_of_wg_quick_are_taken(name: str) -> None:
    """What wg-quick calls an interface is a name."""
    assert check_interface_name(name) == name
    assert uapi_socket(name) == UAPI_DIR / f"{name}.sock"


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-f", "x" * 16, "a/b", "a b", "wg0\n", "../x", "wgé", "a:b"]
)
def test_other_names_are_refused(name: str) -> None:
    """Nothing that the kernel refuses or that leads elsewhere is a name."""
    with pytest.raises(UsageError):
        check_interface_name(name)
    with pytest.raises(UsageError):
        uapi_socket(name)
