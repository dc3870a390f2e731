"""Bytes to values and back; no keys, no time, no I/O."""
