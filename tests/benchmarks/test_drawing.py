import numpy as np
import pytest

from benchmarks.drawing import interleaved, legend
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


@pytest.mark.parametrize("count", [1, 2, 5])
def test_of_interleaved_lines_exactly_one_is_drawn_at_a_place(count):
    figure = new_figure(2, 2)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 1), ylim=(-1, 1))
    ax.axis("off")
    pixels = []
    for number in range(count):
        (line,) = ax.plot([-1, 2], [0, 0], "k", linestyle=interleaved(number, count), linewidth=5)
        figure.canvas.draw()
        pixels.append(255 - np.asarray(figure.canvas.buffer_rgba())[100, :, 0].astype(int))
        line.remove()
    np.testing.assert_allclose(sum(pixels), 255, atol=3)
