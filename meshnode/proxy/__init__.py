"""SOCKS and HTTP proxies over the mesh: parsers without I/O, and their servers."""
