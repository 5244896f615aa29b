"""Push reports: read, received, confirmed."""
