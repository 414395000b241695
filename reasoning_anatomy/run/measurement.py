"""Everything that was measured on one chain."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reasoning_anatomy.types import AttentionProfile, EncodedChain, FloatArray, PruningPath


@dataclass(frozen=True, eq=False)
class Measurement:
    """The arrays of one chain.

    Attributes
    ----------
    encoded
        Token ids and spans.
    scores
        (n,) per scorer label; higher = more important. All NaN if the scorer has no value for the chain.
    profiles
        Per scorer label, if the scorer has one value per layer and head.
    paths
        Per strategy label.
    missing_scores
        Reason per scorer label, if the scorer has no value for the chain.
    """

    encoded: EncodedChain
    scores: Mapping[str, FloatArray] = field(default_factory=dict)
    profiles: Mapping[str, AttentionProfile] = field(default_factory=dict)
    paths: Mapping[str, PruningPath] = field(default_factory=dict)
    missing_scores: Mapping[str, str] = field(default_factory=dict)
