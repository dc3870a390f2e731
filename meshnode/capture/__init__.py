"""Captures of packets: what is kept of them, and how it is written."""
