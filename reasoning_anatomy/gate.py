"""How many requests a server is asked at the same time: as many as it takes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SECONDS_BETWEEN_LOOKS: Final = 0.5


class Gate:
    """Lets requests through to a server: half as many at a time once it is full, one more for every round that it answers.

    Attributes
    ----------
    limit
        Requests that are let through at the same time; at first ``most``.
    n_answered
        Requests that were answered: as long as it grows, a server that is full makes progress.

    References
    ----------
    Chiu and Jain (1989), Analysis of the increase and decrease algorithms for congestion avoidance in computer networks,
    Computer Networks and ISDN Systems 17:1.
    """

    def __init__(self, most: int) -> None:
        self.limit = float(most)
        self.n_answered = 0
        self._most = most
        self._n_inside = 0
        self._n_halved = 0
        self._changed = threading.Condition()

    @contextmanager
    def passed(self, ended: threading.Event) -> Iterator[int]:
        """Wait for room, and take it as long as the context lasts; ``ended`` lets everyone through.

        Yields
        ------
        What `found_full` is told if the server is.
        """
        with self._changed:
            while self._n_inside >= int(self.limit) and not ended.is_set():
                self._changed.wait(_SECONDS_BETWEEN_LOOKS)
            self._n_inside += 1
            n_halved = self._n_halved
        try:
            yield n_halved
        finally:
            with self._changed:
                self._n_inside -= 1
                self._changed.notify()

    def answered(self) -> None:
        """Count an answer: the limit grows by one in as many answers as it is high."""
        with self._changed:
            self.n_answered += 1
            self.limit = min(float(self._most), self.limit + 1 / self.limit)
            self._changed.notify()

    def found_full(self, n_halved: int) -> None:
        """Halve the limit, unless that was done since the request was sent: those that were sent together count once."""
        with self._changed:
            if n_halved == self._n_halved:
                self._n_halved += 1
                self.limit = max(1.0, self.limit / 2)
