"""Functions that the compiler leaves alone, at no price for those who do not compile."""

import subprocess
import sys

import torch

from pyg_relational.ops.uncompiled import uncompiled


def test_what_it_decorates_runs_in_eager_inside_a_compiled_function():
    compiling = []

    @uncompiled
    def double(x, by=2):
        compiling.append(torch.compiler.is_compiling())
        return x * by

    x = torch.ones(3)
    assert torch.equal(torch.compile(lambda x: double(x + 1, by=3), backend="eager")(x), 6 * x)
    assert compiling == [False]
    assert double.__name__ == "double"
    assert torch._dynamo.explain(lambda x: double(x + 1) + 1)(x).graph_break_count == 1


def test_no_compiler_is_imported_for_eager_use():
    code = (
        "import sys\nfrom pyg_relational.ops.uncompiled import uncompiled\n"
        "assert uncompiled(abs)(-1) == 1\nprint('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
