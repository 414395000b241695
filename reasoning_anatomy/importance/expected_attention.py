"""Attention that future queries are expected to pay."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from reasoning_anatomy.errors import UndefinedScoreError
from reasoning_anatomy.importance._ranks import rank_mean
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.models.passes import LayerInput, by_key_head
from reasoning_anatomy.models.rotation import Rotation, open_rotation
from reasoning_anatomy.options import expect_at_least
from reasoning_anatomy.types import EncodedChain, TokenScores


@dataclass(frozen=True, kw_only=True)
class ExpectedAttention:
    """Attention that the queries of the next positions are expected to pay to the token, times the norm of its value.

    The queries before their rotation are taken to be Gaussian with the mean m and the covariance C of those of prompt and
    reasoning. With R the mean of the rotations of the next positions, mu = R m and S = R C R', the expected attention of
    the key k is the softmax over all keys of s mu.k + s^2 k'Sk / 2, with s the scaling of the model (1 / sqrt(d)); soft caps
    are ignored. It is averaged over the query heads of a KV head and multiplied by the norm of the value. The first
    ``n_sink`` tokens of the sequence enter neither statistics nor softmax and share the highest score of their head; they
    mostly belong to the prompt. By layer and KV head, in the profile; the score is the mean of the normalised ranks over
    layers and KV heads, in 0..1 (``expectedattention-rankmean``). One pass over prompt and reasoning.

    Attributes
    ----------
    n_future
        Positions after the reasoning over which the rotation is averaged.
    n_sink
        Tokens at the beginning of the sequence that are set apart.

    References
    ----------
    Devoto et al., Expected Attention: KV Cache Compression by Estimating Attention from Future Queries Distribution,
    arXiv:2510.00636, section 3; as in NVIDIA's kvpress, ExpectedAttentionPress.
    """

    n_future: int = 512
    n_sink: int = 4

    def __post_init__(self) -> None:
        expect_at_least(self, n_future=1, n_sink=0)

    def score(self, chain: EncodedChain, *, loaded: LoadedModel) -> TokenScores:
        """Score the reasoning tokens of one chain; the profile is (layers, kv_heads, n).

        Raises
        ------
        ModelError
            The model's keys cannot be read, or its queries are not rotated in a way that can be undone.
        UndefinedScoreError
            The sequence is no longer than the sinks.
        """
        length = len(chain.prompt_ids) + chain.n_reasoning
        if length <= self.n_sink:
            raise UndefinedScoreError(
                chain.chain_id, f"prompt and reasoning have {length} tokens, expected_attention needs more than {self.n_sink}"
            )
        rotation = open_rotation(loaded, length + self.n_future, remedy="leave the scorer expected_attention out")
        values = by_key_head(loaded, chain, partial(self._of_layer, rotation=rotation))
        return rank_mean(
            "expected_attention",
            values,
            queries=f"expected at the {self.n_future} positions after the reasoning",
            normalisation=f"softmax without the first {self.n_sink} tokens, times the norm of the value",
        )

    def _of_layer(self, layer: LayerInput, *, rotation: Rotation) -> Tensor:
        """(kv_heads, T)."""
        n_kv_heads, length = layer.key.shape[:2]
        before = rotation.undo(layer.module, layer.query[:, self.n_sink :], range(self.n_sink, length))
        mean = before.mean(dim=1, keepdim=True)
        covariance = (before - mean).transpose(1, 2) @ (before - mean) / before.shape[1]
        mean, covariance = self._ahead(layer.module, mean, covariance, rotation, length)
        keys = layer.key[:, self.n_sink :].repeat_interleave(len(layer.query) // n_kv_heads, dim=0)
        linear = (keys @ mean.transpose(1, 2))[..., 0]
        quadratic = ((keys @ covariance) * keys).sum(dim=-1)
        weights = torch.softmax(layer.scaling * linear + layer.scaling**2 / 2 * quadratic, dim=-1)
        expected = weights.view(n_kv_heads, -1, weights.shape[-1]).mean(dim=1) * layer.value[:, self.n_sink :].norm(dim=-1)
        return torch.cat([expected.amax(dim=1, keepdim=True).expand(-1, self.n_sink), expected], dim=1)

    def _ahead(
        self, module: object, mean: Tensor, covariance: Tensor, rotation: Rotation, length: int
    ) -> tuple[Tensor, Tensor]:
        """Rotate mean (heads, 1, d) and covariance (heads, d, d) on average as the next positions do."""
        ahead = range(length, length + self.n_future)
        from_the_right = rotation.apply_mean(module, covariance, ahead)
        return rotation.apply_mean(module, mean, ahead), rotation.apply_mean(module, from_the_right.transpose(1, 2), ahead)
