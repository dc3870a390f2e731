"""A web server for tests: PORT [CERTIFICATE]; with one it speaks TLS.

Its paths: `/big` 10 MB, `/chunked` the same in chunks with a trailer, `/endless` for
ever, `/gzip`, `/moved`, `/echo` the body that was sent, `/sum` its SHA-256, `/seen` the
header fields that came, `/deaf` answers 413 and reads nothing, `/upgrade` a tunnel that
gives everything back in capitals. Connections stay open.
"""

import gzip
import hashlib
import ssl
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BIG = bytes(range(256)) * 40_000
PIECE = 65_536


class Handler(BaseHTTPRequestHandler):
    """Answers by the path."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def answer(self) -> None:
        """Serve one request."""
        self.connection.settimeout(60)
        path = self.path.partition("?")[0].strip("/") or "index"
        method = getattr(self, f"path_{path}", self.path_missing)
        method()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer

    def path_index(self) -> None:
        """Greet."""
        page = b"<html><title>mesh</title><body>hello from the mesh</body></html>"
        self.reply(page, extra=[("Content-Type", "text/html")])

    def path_missing(self) -> None:
        """Have nothing."""
        self.read_body()
        self.reply(b"nothing here", 404)

    def path_big(self) -> None:
        """Give 10 MB of a known length."""
        self.reply(BIG)

    def path_chunked(self) -> None:
        """Give 10 MB in chunks, and a trailer."""
        self.start(200, [("Transfer-Encoding", "chunked"), ("Trailer", "Sum")])
        for start in range(0, len(BIG), PIECE):
            self.chunk(BIG[start : start + PIECE])
        digest = hashlib.sha256(BIG).hexdigest()
        self.wfile.write(f"0\r\nSum: {digest}\r\n\r\n".encode())

    def path_endless(self) -> None:
        """Give without end."""
        self.start(200, [("Transfer-Encoding", "chunked")])
        while True:
            self.chunk(BIG[:PIECE])

    def path_gzip(self) -> None:
        """Give what is packed."""
        self.reply(gzip.compress(BIG, mtime=0), extra=[("Content-Encoding", "gzip")])

    def path_moved(self) -> None:
        """Send elsewhere."""
        self.reply(b"", 302, [("Location", "/echo?moved")])

    def path_echo(self) -> None:
        """Give back what came."""
        self.reply(b"".join(self.read_body()))

    def path_sum(self) -> None:
        """Say what came, without keeping it."""
        digest = hashlib.sha256()
        for piece in self.read_body():
            digest.update(piece)
        self.reply(digest.hexdigest().encode())

    def path_seen(self) -> None:
        """Show the fields."""
        self.reply(str(self.headers).encode())

    def path_deaf(self) -> None:
        """Answer before the body, and read none of it."""
        self.close_connection = True
        self.reply(b"too much", 413, [("Connection", "close")])

    def path_upgrade(self) -> None:
        """Leave HTTP."""
        self.close_connection = True
        self.start(101, [("Upgrade", "shout"), ("Connection", "Upgrade")])
        self.wfile.flush()
        while data := self.connection.recv(PIECE):
            self.connection.sendall(data.upper())

    def reply(
        self, body: bytes, status: int = 200, extra: list[tuple[str, str]] | None = None
    ) -> None:
        """Send a whole response."""
        self.start(status, [*(extra or []), ("Content-Length", str(len(body)))])
        if self.command != "HEAD":
            self.wfile.write(body)

    def start(self, status: int, fields: list[tuple[str, str]]) -> None:
        """Send the head of a response."""
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        """Send a chunk."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def read_body(self) -> list[bytes]:
        """Return the pieces of the request's body."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            return list(self.read_chunks())
        return [self.rfile.read(int(self.headers.get("Content-Length", 0)))]

    def read_chunks(self) -> Iterator[bytes]:
        """Yield the chunks of the request's body."""
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def log_message(self, *words: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Many connections at once."""

    daemon_threads = True
    request_queue_size = 2000

    def handle_error(self, request: object, address: object) -> None:
        """Clients may go away."""


def main(port: str, certificate: str = "") -> None:
    """Serve until killed."""
    with Server(("127.0.0.1", int(port)), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
