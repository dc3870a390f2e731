"""Send every datagram back: `python -m topology.compare.echo ADDRESS PORT`."""

import socket
import sys


def main() -> None:
    """Echo until killed."""
    address, port = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**21)
        echo.bind((address, int(port)))
        while True:
            data, source = echo.recvfrom(65536)
            echo.sendto(data, source)


if __name__ == "__main__":
    main()
