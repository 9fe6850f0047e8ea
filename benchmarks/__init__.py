"""Accuracy and speed of the methods on real data: ``python -m benchmarks``."""
