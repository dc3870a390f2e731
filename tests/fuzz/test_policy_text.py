"""Any text as a policy: a policy or one named refusal, in little time."""

import random

from hypothesis import given
from hypothesis import strategies as st

from meshnode.errors import ConfigError
from meshnode.mesh.policy_text import AccessPolicy, parse_policy

PIECES = (
    *("[[rule]]\n", "[[test]]\n", "[rule]\n", "default", "from", "to", "allow", "deny"),
    *(" = ", "[", "]", "{", "}", ",", "\n", '"', "'", "\\", "#", ".", '"*"', '"tcp:1"'),
    *(
        '"group:a"',
        '"10.0.0.0/8"',
        "1",
        "true",
        "1979-05-27",
        "\x00",
        "é",
        "nan",
        "'''",
    ),
)


def outcome(text: str) -> AccessPolicy | None:
    """Parse *text*; None if it was refused."""
    try:
        return parse_policy(text)
    except ConfigError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert len(refusal) < 400
    return None


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    """Nothing but a policy or a refusal comes of it."""
    outcome(text)


@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_pieces_of_policies(pieces: list[str]) -> None:
    """Nor of what looks like one."""
    outcome("".join(pieces))


def test_mutated_policy(rng: random.Random) -> None:
    """Nor of one in which a few characters are others."""
    text = (
        'default = "deny"\n[[rule]]\nfrom = ["group:a", "10.0.0.0/8"]\nto = "db"\n'
        'allow = ["tcp:22", "udp:1-9"]\n[[test]]\nfrom = "x"\nto = "*"\ndeny = "any"\n'
    )
    assert outcome(text) is not None
    for _ in range(3000):
        letters = list(text)
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(letters))
            letters[place] = rng.choice(('"', "[", "]", "\n", ".", "=", "", "x", "\0"))
        outcome("".join(letters))
