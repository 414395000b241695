"""Colours can be told apart by readers who see no red, no green or no blue."""

from itertools import combinations

import numpy as np
import pytest

from reports._style import LOOKS, SERIES, contrast

PAGES = {"light": ("#ffffff", "#1b1c1f"), "dark": ("#17181b", "#e6e6e3")}
"""Paper and ink of `report.css`."""

SIGHT = {
    "all colours": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""What becomes of linear red, green and blue (Machado et al. 2009, severity 1)."""

TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]])
WHITE = TO_XYZ.sum(axis=1)


def lab(colour, sight):
    """CIELAB of a colour as it is seen."""
    channels = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(SIGHT[sight]) @ linear, 0, 1) / WHITE
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(colours, sight):
    return min(np.linalg.norm(lab(first, sight) - lab(second, sight)) for first, second in combinations(colours, 2))


def fills(theme):
    return [look.fill if theme == "light" else look.dark_fill for look in LOOKS]


def test_the_distance_is_that_of_the_literature():
    np.testing.assert_allclose(lab("#ff0000", "all colours"), [53.24, 80.09, 67.20], atol=0.02)
    np.testing.assert_allclose(lab("#808080", "no red"), lab("#808080", "all colours"), atol=0.05)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize("theme", PAGES)
def test_categories_differ_from_one_another_and_from_the_page(theme, sight):
    assert nearest([*fills(theme), PAGES[theme][0]], sight) > 10


@pytest.mark.parametrize("theme", PAGES)
def test_text_and_underlines_can_be_seen_on_every_category(theme):
    lines = [look.line if theme == "light" else look.dark_line for look in LOOKS]
    assert min(contrast(fill, PAGES[theme][1]) for fill in fills(theme)) >= 4.5
    assert min(contrast(fill, line) for fill, line in zip(fills(theme), lines, strict=True)) >= 3


@pytest.mark.parametrize("sight", SIGHT)
def test_the_first_four_lines_of_a_figure_differ(sight):
    assert nearest(SERIES[:4], sight) > 13
