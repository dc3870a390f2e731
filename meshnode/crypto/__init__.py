"""Cryptography: the only package that imports `nacl`, `hashlib` and `hmac`."""
