from pathlib import Path

import pytest

from benchmarks.speed.on_paper import BANDWIDTH, FLOPS, on_paper, table

PAGE = Path(__file__).parents[2] / "docs" / "distributed.md"


def test_the_page_has_the_table():
    assert table() in PAGE.read_text()


def test_one_rank_sends_nothing():
    alone = on_paper(1000, 1)
    assert alone.halo == alone.graph_sent == alone.solve_sent == alone.consistency_sent == 0


def test_a_halo_of_random_order_is_at_most_all_rows_of_others():
    assert on_paper(10**6, 2).halo == pytest.approx(1, abs=1e-3)
    assert on_paper(10**6, 10**4).halo == pytest.approx(15, rel=1e-2)  # each edge another row


def test_assumptions_are_those_of_the_page():
    page = PAGE.read_text()
    assert f"{FLOPS / 1e12:.0f} TFLOP/s" in page
    assert f"{BANDWIDTH / 1e9:.0f} GB/s" in page
