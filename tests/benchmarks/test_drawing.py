import pytest

from benchmarks.drawing import legend
from pyg_relational.visualize import new_figure


@pytest.mark.parametrize("names", [["a", "b"], ["features, weight 0.0001"] * 5, ["x" * 60] * 3])
@pytest.mark.parametrize("width", [4.2, 11])
def test_legends_are_not_wider_than_the_figure(names, width):
    figure = new_figure(width, 4)
    ax = figure.subplots()
    for number, name in enumerate(names):
        ax.plot([0, 1], label=f"{name} {number}")
    legend(figure, ax, "title")
    figure.canvas.draw()
    (drawn,) = figure.legends
    left, right = drawn.get_window_extent().intervalx / figure.dpi
    assert right - left <= width or len({text.get_window_extent().x0 for text in drawn.texts}) == 1
    assert len(drawn.texts) == len(names)
