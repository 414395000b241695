"""Progress bars of transformers and the hub, held back while this package loads a model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from huggingface_hub import constants
from huggingface_hub.utils.tqdm import progress_bar_states
from transformers import modeling_gguf_pytorch_utils
from transformers.utils import logging

_gguf: Final[Any] = modeling_gguf_pytorch_utils
_loading: Final = threading.Lock()  # the settings are global: of two loads at a time, one would restore what the other set


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Hold back the bars that would stand between ours; warnings still come, and the user's settings are restored.

    ``HF_HUB_DISABLE_PROGRESS_BARS=0`` in the environment keeps the bars.
    """
    if constants.HF_HUB_DISABLE_PROGRESS_BARS is False:
        yield
        return
    with _loading:
        were_shown, hub_settings = logging.is_progress_bar_enabled(), dict(progress_bar_states)
        gguf_bar = _gguf.tqdm
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        _gguf.tqdm = logging.tqdm  # its own bar heeds no setting
        try:
            yield
        finally:
            _gguf.tqdm = gguf_bar
            if were_shown:
                logging.enable_progress_bar()  # type: ignore[no-untyped-call]
            progress_bar_states.clear()
            progress_bar_states.update(hub_settings)
