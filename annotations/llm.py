"""A language model as annotator: it reads the guidelines and the chain, and labels one unit after another."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from annotations._llm.answer import LabelledUnit, read_answer
from annotations._llm.cache import Cache
from annotations._llm.request import Request, cut, guidelines_digest, messages, prompts, schema
from annotations._text.alignment import check_spans
from annotations._text.unit_labels import UnitLabels, to_tokens, units_of
from reasoning_anatomy.categories import CATEGORIES
from reasoning_anatomy.errors import AnnotationError, EncodingError
from reasoning_anatomy.options import expect_address, expect_at_least
from reasoning_anatomy.types import Annotation
from reasoning_anatomy.untrusted import one_line

if TYPE_CHECKING:
    import httpx

    from annotations._llm.endpoint import ChatEndpoint
    from reasoning_anatomy.generation.choice import Choice, Chooser
    from reasoning_anatomy.specs import Dtype, Quantization

_BUNDLED: Final = "smollm2-135m"
_REASON: Final = " because"
_LISTED: Final = 8


@dataclass(frozen=True, kw_only=True)
class Llm:
    """Six categories from a language model that reads the guidelines: a local one, or one at an endpoint that you name.

    Without ``url`` the model runs on this machine and nothing is sent anywhere. With it, question and reasoning of every chain
    are sent to that address and to no other. ``docs/llm-annotator.md`` says what is asked and how answers are checked.

    Attributes
    ----------
    model
        A local model: hub id, folder or GGUF file; None is the bundled SmolLM2. A model at an endpoint: its name there.
    url
        Address of an OpenAI-compatible endpoint, such as ``http://localhost:8000/v1``.
    key_variable
        Name of the environment variable that holds the endpoint's key; empty for no key.
    justify
        Ask for a line of justification.
    temperature
        Sampling temperature at an endpoint; a local model does not sample.
    units_per_request, context
        Number of units that are labelled together, and of characters before and after them that the model sees.
    retries
        How often the model is asked again for units whose labels are missing or invalid.
    attempts, timeout
        How often an endpoint that is busy or does not answer is tried, and the seconds that each attempt may take.
    concurrency
        Number of requests to an endpoint at the same time.
    cache
        Folder of answers; ``"off"`` for none, None for ``~/.cache/reasoning-anatomy/llm``.
    dtype, device, quantize, revision
        Options of a local model, as for ``reasoning-anatomy run``.

    Raises
    ------
    ValueError
        An option is out of its range.
    """

    model: str | None = None
    url: str | None = None
    key_variable: str = "OPENAI_API_KEY"
    justify: bool = True
    temperature: float = 0.0
    units_per_request: int = 60
    context: int = 600
    retries: int = 2
    attempts: int = 4
    timeout: float = 120.0
    concurrency: int = 4
    cache: str | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    quantize: Literal["4bit", "8bit"] | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        expect_at_least(
            self, units_per_request=1, context=0, retries=0, attempts=1, concurrency=1, temperature=0, timeout=0.001
        )
        if self.url is not None:
            expect_address(self.url)
            if self.model is None:
                raise ValueError(f"url={self.url!r}: name the model that answers there with model=NAME")

    @property
    def name(self) -> str:
        """Name under which a run keeps the labels; it differs for every model and way of asking."""
        plain = Llm()
        asking = replace(
            self,
            key_variable=plain.key_variable,
            retries=plain.retries,
            attempts=plain.attempts,
            timeout=plain.timeout,
            concurrency=plain.concurrency,
            cache=plain.cache,
            device=plain.device,
        )
        if asking == plain:
            return "llm"
        readable = re.sub(r"[^A-Za-z0-9._]+", "-", self.model or _BUNDLED).strip("-.")[-60:]
        return f"llm-{readable}-{hashlib.sha256(repr(asking).encode()).hexdigest()[:6]}"

    def annotate(
        self, text: str, spans: Sequence[tuple[int, int]] | npt.NDArray[np.integer], *, question: str | None = None
    ) -> Annotation:
        """Label every span of a text.

        Parameters
        ----------
        text
            The reasoning of one chain.
        spans
            (n, 2) half-open character spans of the tokens.
        question
            The problem that the reasoning solves.

        Returns
        -------
        One category per span. The confidence of a local model is the probability of the category among the six; the
        confidence of a model at an endpoint is the one that it states, missing if it states none.

        Raises
        ------
        AnnotationError
            A span does not fit the text, the endpoint fails, or the model gives no valid label for a unit: there is no default.
        """
        checked = check_spans(spans, len(text))
        units = units_of(text)
        requests = cut(text, units, question=question, units_per_request=self.units_per_request, context=self.context)
        labels = self._choose(requests) if self.url is None else self._ask(requests)
        in_order = [labels[unit] for unit in range(len(units))]
        unit_labels = UnitLabels(
            [label.category for label in in_order],
            confidence=[np.nan if label.confidence is None else label.confidence for label in in_order],
            justification=[label.justification for label in in_order] if self.justify else None,
        )
        return to_tokens(text, checked, unit_labels, annotator=f"{self!r} guidelines {guidelines_digest()}")

    def _ask(self, requests: Sequence[Request]) -> dict[int, LabelledUnit]:
        """Ask the endpoint, several requests at a time."""
        endpoint = _endpoint(self)
        cache = Cache.at(self.cache)
        with endpoint.session() as client, ThreadPoolExecutor(self.concurrency) as pool:
            futures = [pool.submit(self._ask_one, request, endpoint, client, cache) for request in requests]
            try:
                return {unit: label for future in futures for unit, label in future.result().items()}
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _ask_one(
        self, request: Request, endpoint: "ChatEndpoint", client: "httpx.Client", cache: Cache
    ) -> dict[int, LabelledUnit]:
        """Ask for the units of one request, and again for units without a valid label."""
        form = schema(justify=self.justify)
        asked: dict[str, Any] = {"url": self.url, "model": self.model, "temperature": self.temperature, "schema": form}
        asked["messages"] = messages(request, list(request.units), justify=self.justify)
        labels = cache.read(asked)
        n_known, complaint = len(labels), ""
        for _attempt in range(self.retries + 1):
            pending = {unit: text for unit, text in request.units.items() if unit not in labels}
            if not pending:
                break
            content = endpoint.ask(client, messages(request, list(pending), justify=self.justify, complaint=complaint), form)
            valid, complaints = read_answer(content, pending)
            labels |= valid
            complaint = "; ".join(complaints[:_LISTED])
        if len(labels) > n_known:
            cache.write(asked, labels)
        _expect_all(request.units, labels, f"{self.model} at {self.url}", self.retries + 1, complaint)
        return labels

    def _choose(self, requests: Sequence[Request]) -> dict[int, LabelledUnit]:
        """Let the local model choose among the categories."""
        labels: dict[int, LabelledUnit] = {}
        if not requests:
            return labels
        chooser, digest = _chooser(self.model or _BUNDLED, self.dtype, self.device, self.quantize, self.revision)
        cache = Cache.at(self.cache)
        for request in requests:
            texts = prompts(request)
            asked = {
                "weights": digest,
                "dtype": self.dtype,
                "quantize": self.quantize,
                "prompts": texts,
                "justify": self.justify,
            }
            chosen = cache.read(asked)
            if not chosen:
                choices = self._choices(chooser, texts)
                chosen = {
                    unit: LabelledUnit(
                        unit=unit,
                        category=CATEGORIES[choice.number],
                        confidence=choice.probability,
                        justification=None if choice.line is None else one_line(choice.line) or None,
                    )
                    for unit, choice in zip(request.units, choices, strict=True)
                }
                cache.write(asked, chosen)
            labels |= chosen
        return labels

    def _choices(self, chooser: "Chooser", texts: Sequence[str]) -> "list[Choice]":
        try:
            return chooser.choose(texts, go_on=_REASON if self.justify else None)
        except EncodingError as error:
            raise AnnotationError(f"{error}, or lower context and units_per_request") from error


def _expect_all(units: Mapping[int, str], labels: Mapping[int, LabelledUnit], who: str, n_answers: int, complaint: str) -> None:
    missing = [f"{unit} {text!r}" for unit, text in units.items() if unit not in labels]
    if missing:
        more = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        raise AnnotationError(
            f"{who} gave no valid label for {len(missing)} units in {n_answers} answers: {', '.join(missing[:_LISTED])}{more}; "
            f"the last complaint: {complaint}. Valid labels are kept: run the same command again, lower units_per_request, or "
            "choose another model"
        )


@lru_cache(maxsize=8)
def _endpoint(options: Llm) -> "ChatEndpoint":
    """Make the endpoint once, so that it remembers which constraints the server accepts."""
    try:
        from annotations._llm.endpoint import ChatEndpoint
        from reasoning_anatomy.chat_server import ChatServer
    except ImportError as error:
        raise AnnotationError("an endpoint needs httpx; install it with: pip install 'reasoning-anatomy[llm]'") from error
    server = ChatServer(
        str(options.url),
        model=options.model,
        key_variable=options.key_variable,
        attempts=options.attempts,
        timeout=options.timeout,
        length_option="units_per_request",
    )
    return ChatEndpoint(server, options.temperature)


@lru_cache(maxsize=1)
def _chooser(
    model: str, dtype: "Dtype", device: str, quantize: "Quantization | None", revision: str | None
) -> "tuple[Chooser, str]":
    """Load a local model once; return it with the digest of its weights."""
    from reasoning_anatomy.generation.choice import Chooser
    from reasoning_anatomy.models.loading import ModelSpec, load_model

    loaded = load_model(ModelSpec(id=model, dtype=dtype, device=device, quantize=quantize, revision=revision))
    return Chooser(loaded, CATEGORIES), loaded.weights_digest()
