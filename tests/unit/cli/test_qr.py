"""QR codes on a terminal."""

import pytest

from meshnode.cli.qr import show_qr


def test_a_code_is_drawn_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard output stays for what a script reads; the text is not in clear."""
    show_qr("mn1secret" * 20)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) > 15
    assert "mn1secret" not in shown.err
