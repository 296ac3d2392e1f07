"""Benchmarks of the platform on this machine: one file a benchmark, put together in `__main__`."""
