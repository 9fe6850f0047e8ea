"""What makes an operator differentiable, traceable and batchable."""

__all__: list[str] = []
