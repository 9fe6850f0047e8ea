"""The kernels' tests on the CPU: Triton's interpreter is chosen for a whole process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNELS = sorted(path.name for path in HERE.glob("test_*_kernels.py"))


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_in_the_interpreter(name):
    pytest.importorskip("triton", reason="needs triton")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--no-cov", str(HERE / name)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


def test_nothing_imports_triton():
    code = (
        "import sys, torch\n"
        "from pyg_relational import nn, ops\n"
        "from pyg_relational.ops.pairs.gatv2_attention import gatv2_attention\n"
        "gatv2_attention(*torch.ones(3, 2, 1, 4), torch.ones(1, 4))\n"
        "print('triton' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
