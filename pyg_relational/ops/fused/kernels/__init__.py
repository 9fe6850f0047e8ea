"""Triton's kernels; importing one imports triton, so launches do it when they are called."""

__all__: list[str] = []
