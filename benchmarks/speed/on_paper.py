"""What a step over ranks takes by the formulas of docs/distributed.md: ``python -m benchmarks.speed.on_paper``."""

import math
from typing import NamedTuple

D, K, C, S = 64, 10, 10, 4  # features, neighbours, classes, bytes of a number
DEGREE = 15  # edges of a row in the union graph
ITERATIONS = 50  # of a solve
FLOPS, BANDWIDTH = 20e12, 25e9  # assumed, a second: of products in float32; out of a rank
NODES, RANKS = (10**7, 10**8), (8, 64)

__all__ = ["Paper", "on_paper", "table"]


class Paper(NamedTuple):
    """Of one rank: GB held, GB sent and seconds of computing, of graph, solve and graph consistency."""

    halo: float
    held: float
    leiden: float
    graph_sent: float
    solve_sent: float
    consistency_sent: float
    search_seconds: float
    pairs_seconds: float


def on_paper(n: int, ranks: int, halo_rows: float | None = None) -> Paper:
    """The formulas.

    Args:
        n: Number of rows.
        ranks: Number of ranks, with as many rows each.
        halo_rows: Rows of others that a rank needs, for each of its own; ``None`` for rows in random order.
    """
    rows = n / ranks
    edges = DEGREE * rows
    met = (n - rows) * (1 - math.exp(-edges / n))
    halo = met if halo_rows is None else halo_rows * rows
    graph = 3 * rows * D * S + 24 * edges + halo * D * S  # own rows and two blocks, edges, halo
    solve = 6 * rows * C * 8 + halo * C * S + 24 * edges
    row = (D + C) * S + 8
    return Paper(
        halo=halo / rows,
        held=(graph + solve) / 1e9,
        leiden=24 * DEGREE * n / 1e9,
        graph_sent=((n - rows) * D * S + 2 * halo * (D + 1) * S) / 1e9,
        solve_sent=2 * ITERATIONS * 4 * halo * C / 1e9,
        consistency_sent=(n - rows) * row / 1e9,
        search_seconds=2 * rows * n * D / FLOPS,
        pairs_seconds=4 * rows * n * (D + C) / FLOPS,
    )


def table() -> str:
    """Rows of a Markdown table."""
    lines = []
    for n in NODES:
        for ranks in RANKS:
            for order, halo in (("random", None), ("partitioned", 0.1)):
                p = on_paper(n, ranks, halo)
                cells = [
                    f"$10^{round(math.log10(n))}$",
                    str(ranks),
                    f"{order}, {p.halo:.1f}",
                    f"{p.held:.1f}",
                    f"{p.graph_sent:.1f} / {p.graph_sent / (BANDWIDTH / 1e9):.2f}",
                    f"{p.solve_sent:.1f} / {p.solve_sent / (BANDWIDTH / 1e9):.2f}",
                    f"{p.consistency_sent:.1f}",
                    f"{p.search_seconds:.0f}",
                    f"{p.pairs_seconds:.0f}",
                    f"{p.leiden:.1f}",
                ]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
