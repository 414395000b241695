"""How the likelihood of the answer responds to a token's embedding."""

import inspect
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reasoning_anatomy.errors import MeasurementError, ModelError
from reasoning_anatomy.models.activation_checkpoints import checkpointed
from reasoning_anatomy.models.finite import not_finite
from reasoning_anatomy.models.loading import LoadedModel
from reasoning_anatomy.types import EncodedChain, TokenScores


@dataclass(frozen=True, kw_only=True)
class GradientXInput:
    """Gradient of the answer's mean nll with respect to a token's embedding, times that embedding, in nats per answer token.

    With L the mean nll of the answer tokens and x the input embedding of the token, g = dL/dx. To first order L rises by
    -g.x when x shrinks to zero. One forward and one backward pass, in which every layer is run again from its input, so that
    memory holds one activation per layer and the graph of only one layer; weights get no gradient.

    Attributes
    ----------
    reading
        ``"absolute"``: abs(g.x), tokens to which the answer responds, whichever way. ``"signed"``: -g.x, tokens that
        make the answer more likely. ``"norm"``: the Euclidean norm of the element-wise product g * x.

    References
    ----------
    Shrikumar et al., Not Just a Black Box: Learning Important Features Through Propagating Activation Differences,
    arXiv:1605.01713 (gradient x input). Denil et al., Extraction of Salient Sentences from Labelled Documents,
    arXiv:1412.6815, section 3.1 (the absolute value, for words).
    """

    reading: Literal["absolute", "signed", "norm"] = "absolute"

    def score(self, chain: EncodedChain, *, loaded: LoadedModel) -> TokenScores:
        """Score the reasoning tokens of one chain.

        Raises
        ------
        ModelError
            The model takes ids only, or its 4-bit weights are held in a way that passes no gradient.
        MeasurementError
            A gradient is not a finite number.
        """
        embedding, gradient = _gradient(loaded, chain)
        product = embedding.cpu().double() * gradient.cpu().double()
        if not torch.isfinite(product).all():
            raise MeasurementError(
                chain.chain_id,
                not_finite("the answer has a gradient that is not a finite number", loaded.model.dtype),
            )
        if self.reading == "norm":
            return TokenScores(product.norm(dim=1).cpu().numpy())
        signed = -product.sum(dim=1)
        return TokenScores((signed.abs() if self.reading == "absolute" else signed).cpu().numpy())


def _gradient(loaded: LoadedModel, chain: EncodedChain) -> tuple[Tensor, Tensor]:
    """(n, width) embedding of every reasoning token, and the gradient of the answer's mean nll with respect to it."""
    if "inputs_embeds" not in inspect.signature(loaded.model.forward).parameters:
        raise ModelError(f"{loaded.id}: {type(loaded.model).__name__} takes no input embeddings, so it has no gradient_x_input")
    ids = torch.from_numpy(chain.ids).to(loaded.device)
    n_prompt, n_answer = len(chain.prompt_ids), len(chain.answer_ids)
    with torch.enable_grad(), checkpointed(loaded.model):
        embeddings = loaded.model.get_input_embeddings()(ids)[None].detach().requires_grad_()
        output = loaded.model(inputs_embeds=embeddings, use_cache=False, logits_to_keep=n_answer + 1)
        nll = torch.nn.functional.cross_entropy(output.logits[0, :-1].float(), ids[-n_answer:])
        _expect_differentiable(loaded)
        (gradient,) = torch.autograd.grad(nll, embeddings)
    reasoning = slice(n_prompt, n_prompt + chain.n_reasoning)
    return embeddings.detach()[0, reasoning], gradient[0, reasoning]


def _expect_differentiable(loaded: LoadedModel) -> None:
    """Refuse 4-bit weights that a pass on this CPU has repacked: bitsandbytes multiplies by them outside of autograd."""
    for module in loaded.model.modules():
        if getattr(getattr(getattr(module, "weight", None), "quant_state", None), "packing_format_for_cpu", False):
            raise ModelError(
                f"{loaded.id}: bitsandbytes passes no gradient through 4-bit weights on this CPU, so gradient_x_input would be "
                "wrong; use --quantize 8bit, an accelerator, or whole weights"
            )
