"""What ptxas says of every kernel as it is launched; no GPU is needed. Run as a program, it prints the table."""

import contextlib
import csv
import io
import itertools
import re
import sys
from collections.abc import Iterator
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from pyg_relational.ops.fused import consistency, gatv2, gradients, minima, product, sampled
from pyg_relational.ops.fused.kernels import consistency as consistency_kernels
from pyg_relational.ops.fused.kernels import gatv2 as gatv2_kernels
from pyg_relational.ops.fused.kernels import gradients as gradients_kernels
from pyg_relational.ops.fused.kernels.minima import minima as minima_kernel
from pyg_relational.ops.fused.kernels.product import product as product_kernel
from pyg_relational.ops.fused.kernels.sampled import sampled as sampled_kernel

CAPABILITIES = (80, 90)
INTEGERS = {"C", "CHUNKS", "D", "E", "M", "N", "P", "PARTS", "X", "Y", "width"}
INDICES = {"row", "col", "own"}
OTHER = {"seed": "*i64", "dropout": "fp32", "same": "fp32", "different": "fp32"}
KINDS = {  # of arguments of one kernel
    "product": {"ptr": "*i32", "col": "*i32"},
    "consistency": {"y": "*i64"},
    "consistency bf16": {"y": "*i64", "u": "*bf16", "q": "*bf16"},
}
FIELDS = ("kernel", "constants", "sm", "registers", "spilled", "shared")


def kernels() -> Iterator[tuple[str, Any, dict[str, Any], dict[str, Any]]]:
    """Name, function, constants and options of each."""
    for drop in (False, True):
        tile = {"DROP": drop, "T": gatv2.TILE}
        yield "gatv2.forward", gatv2_kernels.forward, tile, gatv2.OPTIONS
        for samples in (True, False):
            constants = {"SAMPLES": samples, **tile}
            yield "gatv2.slopes", gatv2_kernels.slopes, constants, gatv2.OPTIONS
    yield "gatv2.kept", gatv2_kernels.kept, {"T": gatv2.TILE}, {"num_warps": 1}
    for precision in ("tf32", "tf32x3"):
        for own in (False, True):
            constants = {"S": minima.GROUP, "OWN": own, "PRECISION": precision, **minima.TILES}
            yield "minima", minima_kernel, constants, minima.OPTIONS
    for diff in (False, True):
        constants = {"DIFF": diff, **sampled.TILES}
        yield "sampled", sampled_kernel, constants, sampled.OPTIONS
    for form, columns in itertools.product((False, True), (10, 64, 128)):
        constants = {"FORM": form, **product.tiles(columns)}
        yield "product", product_kernel, constants, product.OPTIONS
    kernel, tiles = consistency_kernels.consistency, consistency.TILES
    for relu, by_u in ((True, True), (False, True), (True, False)):
        constants = {"RELU": relu, "BY_U": by_u, "PRECISION": "tf32x3", **tiles}
        yield "consistency", kernel, constants, consistency.OPTIONS
    constants = {"RELU": True, "BY_U": True, "PRECISION": "tf32", **tiles}
    for name in ("consistency", "consistency bf16"):
        yield name, kernel, constants, consistency.OPTIONS
    for columns in (1, 10, 64, 128):
        tiles = gradients.tiles(columns)
        yield "gradients.products", gradients_kernels.products, tiles, gradients.OPTIONS
        constants = {"P": gradients.SUMS, **tiles}
        yield "gradients.step", gradients_kernels.step, constants, gradients.OPTIONS


def source(name: str, function: Any, constants: dict[str, Any], multiples: set[str]) -> ASTSource:
    """What is no integer is float32; tensors and the sizes in ``multiples`` are multiples of 16."""
    kinds = dict.fromkeys(function.arg_names, "*fp32")
    kinds |= dict.fromkeys(kinds.keys() & INTEGERS, "i32")
    kinds |= dict.fromkeys(kinds.keys() & INDICES, "*i64") | dict.fromkeys(constants, "constexpr")
    kinds |= KINDS.get(name, {})
    kinds |= {name: kind for name, kind in OTHER.items() if name in kinds}
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, (name, kind) in enumerate(kinds.items())
        if kind.startswith("*") or name in multiples
    }
    return ASTSource(fn=function, signature=kinds, constexprs=constants, attrs=aligned)


def rows() -> Iterator[dict[str, str]]:
    """One a kernel and capability."""
    triton.knobs.nvidia.dump_ptxas_log = True
    triton.knobs.compilation.always_compile = True
    for (name, function, constants, options), more in itertools.product(kernels(), (set(), {"D"})):
        if not more <= set(function.arg_names):
            continue
        made_for = source(name, function, constants, {"X", "Y"} | more)
        for sm in CAPABILITIES:
            log = io.StringIO()
            with contextlib.redirect_stdout(log):
                made = triton.compile(made_for, target=GPUTarget("cuda", sm, 32), options=options)
            registers = re.findall(r"Used (\d+) registers", log.getvalue())
            spilled = sum(map(int, re.findall(r"(\d+) bytes spill", log.getvalue())))
            shown = " ".join(f"{key}={value}" for key, value in constants.items())
            shown += " D%16=0" * bool(more)
            values = (name, shown, sm, *registers, spilled, made.metadata.shared)
            yield dict(zip(FIELDS, map(str, values), strict=True))


if __name__ == "__main__":
    table = csv.DictWriter(sys.stdout, FIELDS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows())
