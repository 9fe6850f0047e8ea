"""What makes an operator differentiable, traceable and batchable."""
