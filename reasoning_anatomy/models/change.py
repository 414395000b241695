"""A change to a model that threads share: made for the first user, undone after the last."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel


class ModelChange:
    """A change to models, in force while anybody uses it.

    Parameters
    ----------
    make
        Changes a model and returns what undoes the change.
    """

    def __init__(self, make: Callable[[PreTrainedModel], Callable[[], None]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._users: Counter[int] = Counter()
        self._undo: dict[int, Callable[[], None]] = {}

    @contextmanager
    def __call__(self, model: PreTrainedModel) -> Iterator[None]:
        """Keep ``model`` changed in this context."""
        with self._lock:
            if not self._users[id(model)]:
                self._undo[id(model)] = self._make(model)
            self._users[id(model)] += 1
        try:
            yield
        finally:
            with self._lock:
                self._users[id(model)] -= 1
                if not self._users[id(model)]:
                    del self._users[id(model)]
                    self._undo.pop(id(model))()
