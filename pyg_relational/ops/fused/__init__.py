"""Kernels in Triton for CUDA, each beside its form in torch."""

__all__: list[str] = []
