"""Figures that advise: the page's are those of committed rows, its first table's and the README's are the page's."""

import math
import re
from functools import cache
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from benchmarks.store import read

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "which_method.md").read_text()
SCALES = {"accuracy": 100, "nll": 1, "ece": 100, "auroc_confidence": 100, "auroc_distance": 100}
NUMBER = r"[-+]?\d*\.?\d+"
INTERVAL = re.compile(rf"({NUMBER})\*{{0,2}} \[({NUMBER}), ({NUMBER})\]")
LEVELS = re.compile(rf"({NUMBER}) to \*{{0,2}}({NUMBER})\*{{0,2}} %")
STUDY = re.compile(r"`(\w+)`")
Figure = tuple[str, ...]


def figures(text: str) -> set[Figure]:
    return {tuple(map(plain, found)) for found in INTERVAL.findall(text)}


def plain(number: str) -> str:
    """As Python writes it, with as many decimals."""
    return f"{float(number) + 0.0:.{len(number.partition('.')[2])}f}"


def sections() -> dict[str, str]:
    """By anchor."""
    parts = re.split(r"^#{2,3} (.+)\n", PAGE, flags=re.MULTILINE)
    names = (re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-") for name in parts[1::2])
    return dict(zip(names, parts[2::2], strict=True))


SECTIONS = sections()
ELSEWHERE = "methods-of-one-volume-one-by-one"  # a summary of other pages
OF_ROWS = [
    name
    for name, text in SECTIONS.items()
    if name != ELSEWHERE and (figures(text) or LEVELS.search(text))
]
TABLE = [line for line in PAGE.partition("\n## ")[0].splitlines() if line.startswith("| ")][2:]


@cache
def runs(study: str) -> pd.DataFrame:
    """Test runs of a study by task and method; of clusterings the graph is the method."""
    rows = pd.DataFrame(read([ROOT / "benchmarks" / "results" / study]))
    if "stage" in rows:
        return rows[rows["stage"] == "test"]
    return rows.assign(task=rows["data"] + rows["clustering"], method=rows["graph"])


def known(study: str) -> tuple[set[Figure], set[str]]:
    """Every paired difference of two methods with its interval, and every mean."""
    differences, means = set(), set()
    for _, of_task in runs(study).groupby("task"):
        for measure in SCALES.keys() & of_task.columns:
            by_seed = SCALES[measure] * of_task.pivot(
                index="method", columns="seed", values=measure
            )
            for values in by_seed.to_numpy(float):
                means |= {f"{np.nanmean(values):.{digits}f}" for digits in (0, 1, 2)}
            for mine, other in permutations(by_seed.to_numpy(float), 2):
                differences |= interval(mine - other)
    return differences, means


def interval(difference: NDArray[np.float64]) -> set[Figure]:
    """Mean and ends, with one decimal and with two."""
    difference = difference[np.isfinite(difference)]
    n = len(difference)
    if n < 2:
        return set()
    mean, half = difference.mean(), quantile(n) * difference.std(ddof=1) / math.sqrt(n)
    ends = (mean, mean - half, mean + half)
    return {tuple(plain(f"{value:.{digits}f}") for value in ends) for digits in (1, 2)}


@cache
def quantile(n: int) -> float:
    return float(stats.t.ppf(0.975, n - 1))


@pytest.mark.parametrize("section", OF_ROWS)
def test_figures_of_a_section_are_of_the_studies_that_it_names(section):
    text = SECTIONS[section]
    studies = {n for n in STUDY.findall(text) if (ROOT / "benchmarks" / "results" / n).is_dir()}
    assert studies
    differences, means = (set().union(*sets) for sets in zip(*map(known, studies), strict=True))
    assert figures(text) <= differences
    assert {plain(level) for pair in LEVELS.findall(text) for level in pair} <= means


def test_figures_of_the_summary_are_of_the_pages_that_it_links():
    text = SECTIONS[ELSEWHERE]
    pages = {ROOT / "docs" / name for name in re.findall(r"\((\w+\.md)", text)}
    assert len(figures(text)) > 40
    assert figures(text) <= set().union(*(figures(page.read_text()) for page in pages))


@pytest.mark.parametrize("line", TABLE)
def test_figures_of_the_first_table_are_of_the_section_that_it_links(line):
    (anchor,) = re.findall(r"\(#([\w-]+)\)", line)
    assert figures(line) <= figures(SECTIONS[anchor])
    assert set(LEVELS.findall(line)) <= set(LEVELS.findall(SECTIONS[anchor]))


def test_figures_of_the_readme_are_of_the_page():
    summary = (
        (ROOT / "README.md").read_text().partition("## Do they help?")[2].partition("\n## ")[0]
    )
    assert len(figures(summary)) > 5
    assert figures(summary) <= figures(PAGE)
    assert set(LEVELS.findall(summary)) <= set(LEVELS.findall(PAGE))
