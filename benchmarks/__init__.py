"""
What this package costs, beside what people would use instead.

``python -m benchmarks`` measures every case of `cases` and prints a table; ``benchmarks.campaign``
stands alone.
"""
