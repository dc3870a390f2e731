"""Armour: bytes survive as text in a mail, and each fault is named."""

import random

import pytest

from meshnode.errors import ConfigError
from meshnode.mesh.armour import armour, unarmour


@pytest.mark.parametrize("size", [1, 47, 48, 49, 1000])
def test_bytes_survive_a_mail(rng: random.Random, size: int) -> None:
    """With text around, indented and with other line ends, they come back."""
    data = rng.randbytes(size)
    text = armour("request", data)
    assert max(map(len, text.splitlines())) <= 64
    indented = "".join(f"  {line}\r\n" for line in text.splitlines())
    mail = f"Hello,\n\n{indented}\n-- \nMallory\n"
    assert unarmour("request", text, max_bytes=size) == data
    assert unarmour("request", mail, max_bytes=size) == data


def test_each_fault_is_named(rng: random.Random) -> None:
    """Nothing of it, something else, cut short, damaged, too long."""
    text = armour("request", rng.randbytes(300))
    lines = text.splitlines()

    def fault(damaged: str) -> str:
        with pytest.raises(ConfigError) as caught:
            unarmour("request", damaged, max_bytes=300)
        return str(caught.value)

    assert "no meshnode request" in fault("")
    assert "no meshnode request" in fault(armour("bundle", b"data"))
    assert "cut short" in fault("\n".join(lines[:-1]))
    assert "cut short" in fault("\n".join([lines[-1], *lines[:-1]]))
    assert "damaged" in fault("\n".join([lines[0], "A" + lines[1], *lines[2:]]))
    assert "damaged" in fault("\n".join([lines[0], "é", lines[-1]]))
    assert "damaged" in fault("\n".join([lines[0], "AB==", lines[-1]]))
    assert "damaged" in fault("\n".join([lines[0], lines[-1]]))
    assert "too long" in fault(armour("request", bytes(301)))
    assert "too long" in fault("x" * 10**6)
