"""Packets between the TUN device and the UDP port: engines and their workers."""
