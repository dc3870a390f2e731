"""Reasons of refusals: named, told apart, and fit to be shown."""

from meshnode.mesh.refusal import RecordRefused, Refusal


def test_a_refusal_says_why_and_nothing_of_the_record() -> None:
    """The text is the reason's, so a hostile record cannot choose it."""
    refused = RecordRefused(Refusal.BAD_SIGNATURE)
    assert refused.reason is Refusal.BAD_SIGNATURE
    assert str(refused) == "the signature does not verify"


def test_every_reason_has_a_text_of_its_own() -> None:
    """Two with one text would be one member of the enumeration."""
    assert len({reason.value for reason in Refusal}) == len(Refusal.__members__)
