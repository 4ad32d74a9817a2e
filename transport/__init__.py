"""The mesh: authenticated, ordered, reliable messages between the peers of a session."""
