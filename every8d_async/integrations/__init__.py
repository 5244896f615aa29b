"""Bridges to frameworks and stores; each needs its extra, and none is imported by itself."""
