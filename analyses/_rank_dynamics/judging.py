"""Many rankings of many chains judged together: those of as many tokens in one call, which takes a tenth of the time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from analyses._statistics.foretelling import foretold
from reasoning_anatomy.types import FloatArray

_CELLS_AT_ONCE: Final = 1 << 19


@dataclass(frozen=True, eq=False)
class Judgement:
    """Rankings of the same tokens, to be compared with what came after.

    Attributes
    ----------
    rankings, after, window
        (rankings, n) and (n,), as of `foretold`; a ranking that is not known of every token gets no values.
    values
        Where the values go.
    place
        Index into it that holds (rankings, 4).
    """

    rankings: FloatArray
    after: FloatArray
    window: int
    values: FloatArray
    place: tuple[Any, ...]


def judge_all(judgements: Sequence[Judgement]) -> None:
    """Write the values of all."""
    alike: dict[tuple[int, int], list[Judgement]] = {}
    for judgement in judgements:
        alike.setdefault((len(judgement.after), judgement.window), []).append(judgement)
    for (n, window), every in alike.items():
        for some in _blocks(every, max(1, _CELLS_AT_ONCE // n)):
            sizes = [len(judgement.rankings) for judgement in some]
            rankings = np.concatenate([judgement.rankings for judgement in some])
            after = np.repeat(np.stack([judgement.after for judgement in some]), sizes, axis=0)
            is_known = np.isfinite(rankings).all(axis=1)
            values = foretold(rankings[is_known], after[is_known], window)
            found = np.full((len(rankings), values.shape[1]), np.nan)
            found[is_known] = values
            for judgement, of_one in zip(some, np.split(found, np.cumsum(sizes)[:-1]), strict=True):
                judgement.values[judgement.place] = of_one


def _blocks(judgements: Sequence[Judgement], most_rows: int) -> Iterator[list[Judgement]]:
    """Divide into blocks of at most so many rankings, or of a single judgement."""
    block: list[Judgement] = []
    n_rows = 0
    for judgement in judgements:
        if block and n_rows + len(judgement.rankings) > most_rows:
            yield block
            block, n_rows = [], 0
        block.append(judgement)
        n_rows += len(judgement.rankings)
    if block:
        yield block
