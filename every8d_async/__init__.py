"""The async client for EVERY8D (placeholder)."""
