"""Eviction of what is little attended to and much alike, by keys and the latest queries."""

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from reasoning_anatomy.eviction import Eviction, Moment, Positions
from reasoning_anatomy.eviction._options import BudgetOptions, lowest
from reasoning_anatomy.options import expect_at_least, expect_ratio

_ROWS_AT_ONCE: Final = 1024


@dataclass(frozen=True, kw_only=True)
class RKv(BudgetOptions):
    """Keep what the latest queries attend to and what is unlike other keys, in every KV head (R-KV).

    Importance I: of the scores that the latest queries give to each key before them, the largest among the heads that share
    the KV head, softmax over the keys, mean over the queries, largest among neighbours. Redundancy R: cosine of each key with
    all others (as rotated), of which the last above ``threshold`` counts as 0 in each row; mean over the rows, softmax over
    the keys. What has the lowest ``mix`` I - (1 - ``mix``) R goes.

    As released, a row without any cosine above the threshold loses that with the first key instead; ``variant=clean`` leaves
    such a row as it is. Faults of the released code that concern several samples (similarities are those of the first one,
    counts go on from one sample to the next) are not repeated. Released settings: a prompt that is not protected,
    ``protect_prompt=false``, and nothing protected but the window, ``n_sink=0,newest=0``.

    Attributes
    ----------
    window
        Number of the latest tokens whose queries count. They are never evicted.
    mix
        Weight of importance, 0..1.
    kernel
        Number of neighbouring keys, an odd one, of which the largest importance is taken.
    threshold
        Cosine above which a key counts as alike.
    variant
        ``"released"`` or ``"clean"``, see above.

    References
    ----------
    github.com/Zefan-Cai/R-KV, ``r1_kv.py`` at d15c976 (arXiv:2505.24133).
    """

    budget: float = 0.5
    window: int = 8
    mix: float = 0.07
    kernel: int = 7
    threshold: float = 0.5
    variant: Literal["released", "clean"] = "released"
    every: int = 128
    positions: Positions = "keep"
    steps: str = "cue_words"
    protect_prompt: bool = True
    n_sink: int = 4
    newest: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_ratio(self, "mix")
        expect_at_least(self, window=1, kernel=1)
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, expected an odd number")
        if self.every < self.window:
            raise ValueError(f"every is {self.every}, expected at least the window of {self.window} tokens")

    @property
    def per_head(self) -> bool:
        """Whether heads or layers hold different tokens."""
        return True

    def evict(self, moment: Moment) -> Eviction:
        """Choose in every KV head; see `EvictionPolicy.evict`."""
        if moment.queries is None or moment.keys is None:
            raise ValueError("the moment has no queries and keys")
        n_window = moment.queries.shape[2]
        is_before = torch.arange(moment.index.shape[-1], device=moment.index.device) < moment.index.shape[-1] - n_window
        score = torch.stack([self._score(*of_layer) for of_layer in zip(moment.queries, moment.keys, strict=True)])
        score = torch.nn.functional.pad(score, (0, n_window))
        return Eviction(lowest(score, self.may_go(moment) & is_before, self.excess(moment.writing)))

    def _score(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(kv_heads, k - w) scores of a layer; queries (heads, w, head_dim), keys (kv_heads, k, head_dim)."""
        n_before = keys.shape[1] - queries.shape[1]
        grouped = queries.float().view(len(keys), -1, *queries.shape[1:])
        logits = torch.einsum("hgwd,hkd->hgwk", grouped, keys[:, :n_before].float()).amax(dim=1)
        importance = logits.softmax(dim=-1).mean(dim=1)
        pooled = torch.nn.functional.max_pool1d(importance, self.kernel, stride=1, padding=self.kernel // 2)
        return self.mix * pooled - (1 - self.mix) * self.redundancy(keys)[:, :n_before]

    def redundancy(self, keys: Tensor) -> Tensor:
        """(kv_heads, k) how much each key is like the others, of keys (kv_heads, k, head_dim)."""
        unit = torch.nn.functional.normalize(keys.float(), dim=-1)
        n_keys = unit.shape[1]
        sums = unit.new_zeros(unit.shape[:2])
        for first in range(0, n_keys, _ROWS_AT_ONCE):
            rows = torch.arange(first, min(n_keys, first + _ROWS_AT_ONCE), device=keys.device)
            cosine = unit[:, rows] @ unit.transpose(1, 2)
            cosine[:, torch.arange(len(rows)), rows] = 0
            alike = torch.where(cosine > self.threshold, torch.arange(n_keys, device=keys.device), -1).amax(dim=-1)
            is_left = (alike < 0) & (self.variant == "clean")
            last = alike.clamp_min(0)[..., None]
            cosine.scatter_(-1, last, torch.where(is_left[..., None], cosine.gather(-1, last), 0.0))
            sums += cosine.sum(dim=1)
        return (sums / n_keys).softmax(dim=-1)
