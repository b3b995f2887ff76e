"""How fast hookbot is, beside others: ``python -m benchmarks``, on any machine with Linux. See docs/performance.md."""
