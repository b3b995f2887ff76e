"""Benchmarks of hookbot and of comparable servers: ``python -m benchmarks``, on Linux. See docs/performance.md."""
