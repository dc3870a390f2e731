"""Answers for every name, at one UDP place: ADDRESS PORT ANSWER, until it is killed."""

import sys

from dnslib import QTYPE, RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSServer


class Everywhere(BaseResolver):  # type: ignore[misc]
    """Says that every name is in the same place."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        """Answer a question for IPv4; there is nothing else."""
        reply = request.reply()
        if request.q.qtype == QTYPE.A:
            reply.add_answer(RR(request.q.qname, QTYPE.A, rdata=A(self._answer), ttl=9))
        return reply


if __name__ == "__main__":
    address, port, answer = sys.argv[1:]
    DNSServer(Everywhere(answer), address=address, port=int(port)).start()
