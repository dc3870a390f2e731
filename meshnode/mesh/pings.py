"""Questions a user asks: is this member there, how far is it, by which path?"""

from dataclasses import dataclass
from typing import Final

from meshnode.codec.messages import Ping, Pong
from meshnode.deadlines import Deadline
from meshnode.mesh.ports import Tunnels
from meshnode.ports import Entropy
from meshnode.types import Endpoint
from meshnode.values import frozen

MAX_OPEN: Final = 64
"""Questions at once; the oldest is given up for a further one."""

ASK_AGAIN: Final = 1.0
"""Seconds until a question is sent again: the first may have waited for a session."""

_NONCE_BYTES: Final = 8


@frozen
class Answer:
    """What became of a question: round trip in seconds, None for no answer.

    `endpoint` is where the member was spoken to.
    """

    number: int
    key: bytes
    seconds: float | None
    endpoint: Endpoint | None


@dataclass(slots=True)
class _Question:
    number: int
    key: bytes
    ends_at: float
    sent: dict[bytes, float]
    next_at: float


class Pings:
    """All open questions; `answers` hands over what was decided."""

    def __init__(self, tunnels: Tunnels, entropy: Entropy) -> None:
        self._tunnels = tunnels
        self._entropy = entropy
        self._questions: dict[int, _Question] = {}
        self._number = 0
        self._answers: list[Answer] = []

    def ask(self, key: bytes, *, timeout: float, now: float) -> int:
        """Ask the member with *key*; return the number its `Answer` will have."""
        if len(self._questions) >= MAX_OPEN:
            self._end(next(iter(self._questions.values())), None)
        self._number += 1
        question = _Question(self._number, key, now + timeout, {}, now)
        self._questions[self._number] = question
        self._send(question, now)
        return self._number

    def receive(self, key: bytes, pong: Pong, *, now: float) -> bool:
        """Take an answer; return whether somebody waited for it."""
        for question in list(self._questions.values()):
            sent_at = question.sent.get(pong.nonce)
            if question.key == key and sent_at is not None:
                self._end(question, now - sent_at)
                return True
        return False

    def answers(self) -> list[Answer]:
        """Return and forget what was decided."""
        answers, self._answers = self._answers, []
        return answers

    def handle_deadline(self, *, now: float) -> None:
        """Ask again, or give up."""
        for question in list(self._questions.values()):
            if now >= question.ends_at:
                self._end(question, None)
            elif now >= question.next_at:
                self._send(question, now)

    def next_deadline(self) -> Deadline | None:
        """Return when a question is asked again or given up."""
        if self._answers:
            return Deadline(float("-inf"), "answers to hand over")
        moments = [min(q.ends_at, q.next_at) for q in self._questions.values()]
        return Deadline(min(moments), "a user's ping") if moments else None

    def _send(self, question: _Question, now: float) -> None:
        nonce = self._entropy(_NONCE_BYTES)
        question.sent[nonce] = now
        question.next_at = now + ASK_AGAIN
        self._tunnels.send(question.key, Ping(nonce), now=now)

    def _end(self, question: _Question, seconds: float | None) -> None:
        del self._questions[question.number]
        endpoint = self._tunnels.path_of(question.key)
        answer = Answer(question.number, question.key, seconds, endpoint)
        self._answers.append(answer)
