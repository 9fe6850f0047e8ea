import os
from importlib.util import find_spec

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@pytest.fixture
def device() -> str:
    """Where kernels run: CUDA, or the CPU in Triton's interpreter."""
    if find_spec("triton") is None:
        pytest.skip("needs triton")
    if INTERPRETED:
        return "cpu"
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA; run in Triton's interpreter by test_interpreter.py")
    return "cuda"
