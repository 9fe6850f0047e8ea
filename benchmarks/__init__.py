"""Accuracy, clustering and speed of the methods: ``python -m benchmarks``."""
