"""Taking in what clients send: bodies, the items in them, and the one writer that commits these."""
