"""The charters and the policy in force: served to who asks, fetched from who has later.

Unlike member records they are one of each and may be long. A `Hello` tells their
versions; who is behind fetches the next charter, then the policy, part by part.
"""

from typing import Final

from meshnode.codec.messages import Chunk, Fetch, Hello
from meshnode.codec.records import Charter, Kind, Policy
from meshnode.deadlines import Deadline
from meshnode.mesh.answers import Answers
from meshnode.mesh.outbox import Outbox
from meshnode.mesh.ports import KeepCharter, KeepPolicy, Tunnels
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.transfer import CHUNK_BYTES, Transfer
from meshnode.mesh.trust import Trust

News = Charter | Policy

_NO_POLICY: Final = 0


class Library:
    """Our charters, which *trust* holds, and our policy."""

    def __init__(
        self, trust: Trust, tunnels: Tunnels, answers: Answers, outbox: Outbox
    ) -> None:
        self.policy: Policy | None = None
        self._policy_data = b""
        self._trust = trust
        self._answers = answers
        self._outbox = outbox
        self._transfer = Transfer(tunnels)

    @property
    def versions(self) -> tuple[int, int]:
        """The versions of charter and policy in force, 0 for none."""
        policy = self.policy.version if self.policy else _NO_POLICY
        return len(self._trust.chain()), policy

    def load_policy(self, data: bytes) -> Policy:
        """Take the policy that the state store held; raises `RecordRefused`."""
        self.policy = self._trust.verify_policy(data)
        self._policy_data = data
        return self.policy

    def adopt_charter(self, data: bytes, *, now: float) -> Charter | None:
        """Add the next charter; return it, or None if it is known.

        Raises:
            RecordRefused: if it is not the successor of the one in force.
        """
        if not self._trust.add_charter(data):
            return None
        version = len(self._trust.chain())
        self._outbox.keep(KeepCharter(version, data), now=now)
        return self._trust.charter

    def adopt_policy(self, data: bytes, *, now: float) -> Policy | None:
        """Put a policy in force; return it, or None if ours is as late.

        Raises:
            RecordRefused: if it does not verify.
        """
        policy = self._trust.verify_policy(data)
        if policy.version <= self.versions[1]:
            return None
        self.policy, self._policy_data = policy, data
        self._outbox.keep(KeepPolicy(policy.version, data), now=now)
        return policy

    def take_hello(self, key: bytes, hello: Hello, *, now: float) -> None:
        """Begin to fetch what the peer has later than we: charters first."""
        charter, policy = self.versions
        if hello.charter > charter:
            self._transfer.begin(key, Kind.CHARTER, charter + 1, now=now)
        elif hello.policy > policy:
            self._transfer.begin(key, Kind.POLICY, hello.policy, now=now)

    def take_fetch(self, key: bytes, fetch: Fetch, *, now: float) -> None:
        """Send the part that the peer asks for, if we have it."""
        chain = self._trust.chain()
        data = b""
        if fetch.kind == Kind.CHARTER and 1 <= fetch.version <= len(chain):
            data = chain[fetch.version - 1]
        elif fetch.kind == Kind.POLICY and fetch.version == self.versions[1]:
            data = self._policy_data
        if fetch.offset < len(data):
            part = data[fetch.offset : fetch.offset + CHUNK_BYTES]
            chunk = Chunk(fetch.kind, fetch.version, fetch.offset, len(data), part)
            self._answers.send(key, chunk, now=now)

    def take_chunk(self, key: bytes, chunk: Chunk, *, now: float) -> News | None:
        """Take a part of what we fetch; return what is in force by it.

        A peer whose document is refused, or was not worth fetching, is left alone for
        a while.
        """
        document = self._transfer.receive(key, chunk, now=now)
        if document is None:
            return None
        adopted: News | None = None
        try:
            if document.kind == Kind.CHARTER:
                adopted = self.adopt_charter(document.data, now=now)
            else:
                adopted = self.adopt_policy(document.data, now=now)
        except RecordRefused:
            adopted = None
        if adopted is None:
            self._transfer.fail(key, now=now)
        return adopted

    def handle_deadline(self, *, now: float) -> None:
        """Ask again for a part that did not come, or give up."""
        self._transfer.handle_deadline(now=now)

    def next_deadline(self) -> Deadline | None:
        """Return when a part is overdue."""
        return self._transfer.next_deadline()
