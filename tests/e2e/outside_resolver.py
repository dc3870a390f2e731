"""A resolver of the world outside: `python -m tests.e2e.outside_resolver ADDRESS`.

Every name has one address, but those that begin with `long` have 200. It prints what
it is asked.
"""

import sys

from dnslib import RR, A, DNSRecord
from dnslib.server import BaseResolver, DNSHandler, DNSServer


class Outside(BaseResolver):  # type: ignore[misc]  # dnslib has no types
    """Answers anything."""

    def resolve(self, request: DNSRecord, handler: DNSHandler) -> DNSRecord:
        """Return the answer."""
        name = str(request.q.qname)
        print(name.lower(), flush=True)
        addresses = ["203.0.113.7"]
        if name.lower().startswith("long"):
            addresses = [f"198.51.100.{number}" for number in range(200)]
        reply = request.reply()
        if request.q.qtype == 1:
            reply.add_answer(
                *(RR(request.q.qname, rdata=A(one), ttl=9) for one in addresses)
            )
        return reply


if __name__ == "__main__":
    for tcp in (True, False):
        server = DNSServer(
            Outside(), address=sys.argv[1], port=53, tcp=tcp, logger=None
        )
        if tcp:
            server.start_thread()
        else:
            print("serving", flush=True)
            server.start()
