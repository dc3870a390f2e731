from collections.abc import Mapping

class Arrivals:
    def set_sockets(self, ports: Mapping[int, int]) -> None: ...
