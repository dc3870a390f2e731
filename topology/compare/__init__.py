"""The three ways into a mesh, and other proxies beside them, doing the same work."""
