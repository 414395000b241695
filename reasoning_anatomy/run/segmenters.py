"""The segmenters of a run, and the steps that they cut."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from reasoning_anatomy import plugins
from reasoning_anatomy.errors import MeasurementError, PluginError, ReasoningAnatomyError, RunError, reason_of
from reasoning_anatomy.run.manifest import Configuration
from reasoning_anatomy.types import EncodedChain, IntArray

if TYPE_CHECKING:
    from reasoning_anatomy.steps import Segmenter


@dataclass(frozen=True)
class Cutter:
    """Cuts chains into steps by every segmenter of a run.

    Attributes
    ----------
    segmenters
        By label.
    refused
        Label -> chain_id -> why the segmenter has no steps for the chain; grows with every chain that is cut.
    """

    segmenters: "Mapping[str, Segmenter]"
    refused: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, configuration: Configuration) -> Self:
        """Make the segmenters of a run, see `segmenters_of`."""
        return cls(segmenters_of(folder, configuration))

    def cut(self, chain: EncodedChain) -> dict[str, IntArray | None]:
        """(n,) steps by label; None if the segmenter has none for this chain.

        Raises
        ------
        PluginError
            A segmenter crashes, or does not partition the tokens.
        """
        return {label: self._cut(chain, label) for label in self.segmenters}

    def _cut(self, chain: EncodedChain, label: str) -> IntArray | None:
        try:
            steps = self.segmenters[label].segment(chain.chain, chain.spans)
        except MeasurementError as error:
            self.refused.setdefault(label, {})[chain.chain_id] = error.reason
            return None
        except ReasoningAnatomyError:
            raise
        except Exception as error:  # a file of someone else may raise anything
            raise PluginError(
                f"segmenter {label!r} fails on chain {chain.chain_id!r} ({reason_of(error)}); repair it"
            ) from error
        return _expect_partition(steps, chain, label)


def segmenters_of(folder: Path, configuration: Configuration) -> "dict[str, Segmenter]":
    """Make the segmenters of a run, by label.

    Raises
    ------
    RunError
        One of them is not known here, or cuts by another rule now.
    """
    segmenters = {}
    for label, known in configuration.segmenters.items():
        try:
            segmenters[label] = plugins.load("segmenter", label)
        except PluginError as error:
            raise RunError(
                f"{folder}: has steps by {label!r}, which cannot be made here ({error}); add --plugins FOLDER"
            ) from None
        if repr(segmenters[label]) != known:
            raise RunError(
                f"{folder}: its steps by {label!r} are those of another rule ({known} in the run, {segmenters[label]!r} now); "
                "use another folder"
            )
    return segmenters


def _expect_partition(steps: IntArray, chain: EncodedChain, label: str) -> IntArray:
    steps = np.asarray(steps)
    if steps.shape != (chain.n_reasoning,) or not np.issubdtype(steps.dtype, np.integer):
        raise PluginError(
            f"segmenter {label!r} gives {steps.dtype} of shape {steps.shape} for the {chain.n_reasoning} tokens of chain "
            f"{chain.chain_id!r}; it must give a whole number for each"
        )
    if steps[0] < 0 or (np.diff(steps) < 0).any():
        raise PluginError(
            f"segmenter {label!r} gives steps of chain {chain.chain_id!r} that are negative or go backwards; number them from 0"
        )
    return steps.astype(np.int64)
