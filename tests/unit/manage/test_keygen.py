"""Fresh keys, and `wg pubkey` as the oracle of public keys."""

import subprocess

import pytest

from meshnode.errors import ConfigError
from meshnode.manage.keygen import (
    new_preshared_key,
    new_private_key,
    public_key_from_text,
)

KEY = b"yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="


def test_keys_are_fresh() -> None:
    """No two keys are alike, and a private one is clamped."""
    keys = [new_private_key() for _ in range(100)]
    assert len({key.reveal() for key in keys}) == 100
    assert all(key.reveal()[0] & 7 == 0 for key in keys)
    assert all(key.reveal()[31] & 0xC0 == 0x40 for key in keys)
    assert len({new_preshared_key().reveal() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "data",
    [
        KEY,
        KEY + b"\n",
        KEY + b" \t\r\n\x0b\x0c\0\n",
        KEY + b"x",
        KEY + b"\n\nx",
        KEY + b"\x85",
        KEY + b"\xa0",
        b" " + KEY,
        b" " + KEY[:-1],
        KEY[:-1],
        KEY[:-1] + b"\n",
        KEY[:-1] + b"A",
        KEY.replace(b"mk=", b"ml="),
        KEY.replace(b"y", b"!"),
        KEY[:20] + b"\0" + KEY[21:],
        KEY[:20] + b"\xff" + KEY[21:],
        b"A" * 43 + b"=",
        b"",
        b"\n",
    ],
)
def test_the_public_key_is_that_of_wg(data: bytes) -> None:
    """The same keys are taken, and refused in the same words."""
    wg = subprocess.run(["wg", "pubkey"], input=data, capture_output=True, check=False)
    if wg.returncode == 0:
        assert f"{public_key_from_text(data)}\n".encode() == wg.stdout
    else:
        with pytest.raises(ConfigError) as caught:
            public_key_from_text(data)
        assert f"wg: {caught.value}\n".encode() == wg.stderr
        assert caught.value.exit_code == wg.returncode
