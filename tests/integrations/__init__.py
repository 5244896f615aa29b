"""Frameworks and stores, over real sockets."""
