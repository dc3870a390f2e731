"""Whatever another process says to control or to the process of proxies."""

from hypothesis import given
from hypothesis import strategies as st

from meshnode.codec.proxy_link import (
    decode_from_control,
    decode_from_proxy,
    decode_plan,
    encode,
    encode_plan,
)
from meshnode.errors import CodecError, ConfigError
from meshnode.manage.users_file import parse_users, serialise_users


@given(st.binary(max_size=200))
def test_links_may_carry_anything(data: bytes) -> None:
    """What is decoded can be said again."""
    for decode in (decode_from_control, decode_from_proxy):
        try:
            message = decode(data)
        except CodecError:
            continue
        assert decode(encode(message)) == message


@given(st.binary(max_size=400))
def test_plans_may_be_anything(data: bytes) -> None:
    """What is decoded can be said again."""
    try:
        plan = decode_plan(data)
    except CodecError:
        return
    assert decode_plan(encode_plan(plan)) == plan


LINES = st.sampled_from(
    [b"alice:", b"$argon2id$v=19$m=8,t=1,p=1$", b"A" * 22, b"$", b"A" * 43, b"\n", b"#"]
)


@given(st.lists(st.one_of(LINES, st.binary(max_size=9)), max_size=12))
def test_files_of_users_may_be_anything(pieces: list[bytes]) -> None:
    """What is read can be written."""
    try:
        users = parse_users(b"".join(pieces), "users")
    except ConfigError:
        return
    assert parse_users(serialise_users(users).encode(), "users") == users
