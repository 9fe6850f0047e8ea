import re
from xml.etree import ElementTree

import pandas as pd
import pytest

from benchmarks.chart import chart


def lines(runs):
    """Name, value, ends of the interval and place of the mean, each in % of the width, by line."""
    tree = ElementTree.fromstring(chart(pd.DataFrame(runs)))
    for line in tree.iter("div"):
        if line.get("class") == "line" and line.find("svg/circle") is not None:
            name, value = (span.text for span in line.findall("span"))
            drawn = line.findall("svg/line")[-1]
            mean = line.find("svg/circle").get("cx")
            yield name, value, *(float(x[:-1]) for x in (drawn.get("x1"), mean, drawn.get("x2")))


def run(task, method, accuracy):
    return {"task": task, "method": method, "accuracy": accuracy}


def test_means_and_intervals_lie_on_the_scale_of_their_task():
    runs = [run("a", "x", 0.5), run("a", "x", 0.6), run("a", "y", 0.9), run("b", "x", 0.1)]
    (_, text, low, mean, high), (_, _, *alone), _ = lines(runs)
    assert text == "55.00 ± 63.53"
    assert mean - low == pytest.approx(high - mean, abs=0.02)
    assert alone[0] == alone[1] == alone[2]
    ticks = [float(t) for t in re.findall(r"middle\">([\d.-]+)<", chart(pd.DataFrame(runs[:3])))]
    width = ticks[-1] - ticks[0]
    for value, place in ((55, mean), (55 - 63.53, low), (90, alone[1])):
        assert place == pytest.approx(100 * (value - ticks[0]) / width, abs=0.02)


def test_one_value_and_names_that_are_markup():
    ((name, text, *places),) = lines([run("<task>", "<b>&", 0.5)])
    assert (name, text) == ("<b>&", "50.00")
    assert places[0] == places[1] == places[2]
    assert 0 <= places[0] <= 100
