"""The file of one scorer's scores of a chain."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from reasoning_anatomy.run.arrays import Arrays, read_arrays, refusing_damage, write_arrays
from reasoning_anatomy.run.encoded import REMEDY
from reasoning_anatomy.run.origin import Origin, expect_origin
from reasoning_anatomy.run.packing import pack, unpack
from reasoning_anatomy.types import AttentionProfile, PathStages, TokenScores

_PROFILE_FACTS: Final = ("scorer", "queries", "normalisation", "full_precision")
_STAGES: Final = "stages_"
_STAGE_ARRAYS: Final = ("keep_ratios", "achieved", "nll")


def write_scores(path: Path, scores: TokenScores, *, chain_id: str, origin: Origin) -> None:
    """Write scores, profile and stages atomically, attention in half precision (`pack`) unless it asks for full precision."""
    arrays: Arrays = {"score": scores.score}
    profile = scores.profile
    if profile is not None and profile.full_precision:
        arrays["received"] = profile.received
    elif profile is not None:
        arrays["received"], arrays["scale"] = pack(profile.received)
    if scores.stages is not None:
        arrays |= _packed_stages(scores.stages)
    about = None if profile is None else {name: getattr(profile, name) for name in _PROFILE_FACTS}
    write_arrays(path, arrays, {"chain_id": chain_id, "origin": origin, "profile": about})


def read_scores(path: Path, *, origin: Origin, run_folder: Path, with_profile: bool = True) -> TokenScores:
    """Read scores, with profile and stages if they are asked for; `RunError` if the file is damaged or of something else."""
    with refusing_damage(path, remedy=REMEDY):
        arrays, facts = read_arrays(path, None if with_profile else ["score"])
        expect_origin(path, facts, origin, run_folder=run_folder)
        about = facts["profile"]
        return TokenScores(
            arrays["score"],
            _profile(arrays, about) if with_profile and about else None,
            _stages(arrays) if with_profile and f"{_STAGES}nll" in facts["digests"] else None,
        )


def _profile(arrays: Arrays, about: dict[str, Any]) -> AttentionProfile:
    stored = arrays["received"]
    return AttentionProfile(received=stored if about["full_precision"] else unpack(stored, arrays["scale"]), **about)


def _packed_stages(stages: PathStages) -> Arrays:
    """Lay the tokens that are left at the stages end to end, so that deleted ones take no room."""
    left = np.concatenate(
        [of_stage[..., is_left] for of_stage, is_left in zip(stages.received, stages.is_left, strict=True)], 2
    )
    received, scale = pack(left)
    arrays: Arrays = {f"{_STAGES}{name}": getattr(stages, name) for name in _STAGE_ARRAYS}
    return arrays | {f"{_STAGES}received": received, f"{_STAGES}scale": scale}


def _stages(arrays: Arrays) -> PathStages:
    keep_ratios, achieved, nll = (arrays[f"{_STAGES}{name}"] for name in _STAGE_ARRAYS)
    left = unpack(arrays[f"{_STAGES}received"], arrays[f"{_STAGES}scale"])
    received = np.full((len(nll), *left.shape[:2], nll.shape[1]), np.nan, dtype=np.float32)
    start = 0
    for of_stage, is_left in zip(received, ~np.isnan(nll), strict=True):
        stop = start + int(is_left.sum())
        of_stage[..., is_left] = left[..., start:stop]
        start = stop
    return PathStages(keep_ratios, achieved, nll, received)
