"""Tests of the stand-in for the gateway; expected bytes are literals, written down by hand."""
