"""Names of members as DNS answers them: a pure zone, and its server."""
