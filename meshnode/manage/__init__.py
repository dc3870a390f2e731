"""Managing a node: the userspace API, keys on disk, the state that survives."""
