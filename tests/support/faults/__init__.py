"""Faults on a real API server, and what they cost: few of each in tests, many in `benchmarks/operator_faults.py`."""
