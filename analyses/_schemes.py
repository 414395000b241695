"""What analyses by category compare: groups of categories, every two of them, and with which weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from reasoning_anatomy import categories
from reasoning_anatomy.types import FloatArray, IntArray

GIVEN_POSITION: Final = " given position"
"""What the name of a term ends with if position is held constant."""

ENDINGS: Final = ("", GIVEN_POSITION)
"""Of the names of each term, in the order in which values of both kinds are kept."""


@dataclass(frozen=True, eq=False)
class Scheme:
    """Groups of categories, and the terms about them: every group, then every pair.

    Attributes
    ----------
    name
        In ``reasoning_anatomy.categories.SCHEMES``.
    groups
        Names of the groups.
    """

    name: str
    groups: tuple[str, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Every two groups, in the order of the terms."""
        return list(combinations(self.groups, 2))

    @property
    def differences(self) -> list[str]:
        """Names of the differences of every two groups, such as ``SYMBOLIC_MATH - VERBAL_MATH``."""
        return [f"{first} - {second}" for first, second in self.pairs]

    @property
    def terms(self) -> list[str]:
        """The groups, each standing for its mean, then the differences."""
        return [*self.groups, *self.differences]

    @property
    def contrasts(self) -> FloatArray:
        """(terms, groups) weights of the groups in every term."""
        identity = np.eye(len(self.groups))
        return np.concatenate([identity, [identity[a] - identity[b] for a, b in combinations(range(len(self.groups)), 2)]])

    @property
    def group_of_category(self) -> IntArray:
        """(categories,) number of the group of each of the `CATEGORIES`."""
        return np.array([self.groups.index(group) for group in categories.SCHEMES[self.name]])

    @property
    def is_in_group(self) -> npt.NDArray[np.bool_]:
        """(categories, groups) whether each of the `CATEGORIES` belongs to a group."""
        return np.asarray(self.group_of_category[:, None] == np.arange(len(self.groups)))


SCHEMES: Final[Sequence[Scheme]] = [Scheme(name, tuple(dict.fromkeys(groups))) for name, groups in categories.SCHEMES.items()]
"""The six categories, the two classes, and the two classes with ENTITY_NAME as a third."""
