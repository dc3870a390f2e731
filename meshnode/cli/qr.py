"""QR codes on a terminal."""

import sys

import segno


def show_qr(text: str) -> None:
    """Draw *text* as a QR code on standard error, two rows a line."""
    code = segno.make(text, error="l", micro=False)
    code.terminal(out=sys.stderr, compact=True)
