"""What a peer may cost, and the answers it gets for it."""

from meshnode.codec.messages import Chunk, Hello, Leaf, Message, Push
from meshnode.mesh.answers import PEER_BURST, REFUSED_COST, Answers
from tests.mesh_wire import Mailbox

HELLO = Hello(bytes(8), 0, 0, 0, wants_answer=True)


def count(answers: Answers, key: bytes, message: Message) -> int:
    """Return how many of a message the peer may send at once."""
    number = 0
    while answers.admit(key, message, now=0.0):
        number += 1
    return number


def test_messages_are_paid_by_their_size() -> None:
    """A burst buys fewer of the long ones."""
    numbers = [
        count(Answers(Mailbox()), b"k", message)
        for message in (
            HELLO,
            Leaf(b"", ((bytes(8), bytes(8)),) * 60),
            Chunk(1, 1, 0, 1000, bytes(1000)),
            Push((bytes(500), bytes(500))),
        )
    ]
    assert numbers[0] == PEER_BURST // 128
    assert all(number < 130 for number in numbers[1:])


def test_an_answer_costs_twice_and_is_not_sent_beyond_the_budget() -> None:
    """The peer's own; others have theirs."""
    mailbox = Mailbox()
    answers = Answers(mailbox)
    sent = 0
    while answers.send(b"k", HELLO, now=0.0):
        sent += 1
    assert sent == len(mailbox.sent) == PEER_BURST // 256
    assert answers.over_budget == 1
    assert not answers.admit(b"k", HELLO, now=0.0)
    assert answers.admit(b"other", HELLO, now=0.0)


def test_useless_work_is_paid_for() -> None:
    """Thirty-two refused records take the whole budget."""
    answers = Answers(Mailbox())
    for _ in range(PEER_BURST // REFUSED_COST):
        assert answers.admit(b"k", HELLO, now=0.0)
        answers.charge(b"k", REFUSED_COST, now=0.0)
    assert not answers.admit(b"k", HELLO, now=0.0)
