"""Laboratory of network namespaces: hosts, links, NATs, tunnels, measurements.

Used by tests and tools only; nothing of meshnode imports it.
"""
