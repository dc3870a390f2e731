"""WireGuard, sans-IO: handshake, key pairs, cookies, timers, cryptokey routing."""
