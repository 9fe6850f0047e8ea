"""Nearest neighbours: exact and approximate."""

__all__ = []
