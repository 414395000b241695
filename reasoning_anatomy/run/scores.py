"""The file of one scorer's scores of a chain."""

from pathlib import Path
from typing import Any, Final

from reasoning_anatomy.run.arrays import Arrays, read_arrays, refusing_damage, write_arrays
from reasoning_anatomy.run.encoded import REMEDY
from reasoning_anatomy.run.origin import Origin, expect_origin
from reasoning_anatomy.run.packing import pack, unpack
from reasoning_anatomy.types import AttentionProfile, TokenScores

_PROFILE_FACTS: Final = ("scorer", "queries", "normalisation", "full_precision")


def write_scores(path: Path, scores: TokenScores, *, chain_id: str, origin: Origin) -> None:
    """Write scores and profile atomically, the profile in half precision (see `pack`) unless it asks for full precision."""
    arrays: Arrays = {"score": scores.score}
    profile = scores.profile
    if profile is not None and profile.full_precision:
        arrays["received"] = profile.received
    elif profile is not None:
        arrays["received"], arrays["scale"] = pack(profile.received)
    about = None if profile is None else {name: getattr(profile, name) for name in _PROFILE_FACTS}
    write_arrays(path, arrays, {"chain_id": chain_id, "origin": origin, "profile": about})


def read_scores(path: Path, *, origin: Origin, run_folder: Path, with_profile: bool = True) -> TokenScores:
    """Read scores, and the profile if it is asked for; `RunError` if the file is damaged or was made from something else."""
    with refusing_damage(path, remedy=REMEDY):
        arrays, facts = read_arrays(path, None if with_profile else ["score"])
        expect_origin(path, facts, origin, run_folder=run_folder)
        about = facts["profile"]
        return TokenScores(arrays["score"], _profile(arrays, about) if with_profile and about else None)


def _profile(arrays: Arrays, about: dict[str, Any]) -> AttentionProfile:
    stored = arrays["received"]
    return AttentionProfile(received=stored if about["full_precision"] else unpack(stored, arrays["scale"]), **about)
