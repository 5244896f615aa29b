"""What this package costs, measured: run one with ``python -m benchmarks.<name>``."""
