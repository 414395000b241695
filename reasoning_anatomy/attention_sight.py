"""Which keys some queries see: a few of them by query, all others alike."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Sight:
    """The keys that R queries see.

    Attributes
    ----------
    keys
        The K keys that any query sees, with those between them; one key that none sees where there is no other.
    edge
        Those of ``keys`` that not all queries see, with those between them; all queries see the rest of ``keys``.
    visible
        (R, edge) which query sees which.
    """

    keys: slice
    edge: slice
    visible: Tensor

    def hide(self, scores: Tensor) -> None:
        """Set the scores (heads, R, K) to -inf where a query does not see a key."""
        scores[:, :, self._edge].masked_fill_(~self.visible, -torch.inf)

    def blind(self) -> Tensor | None:
        """(R,) which queries see no key; None = all see one."""
        if self.edge != self.keys:
            return None
        blind = ~_any(self.visible, dim=1)
        return blind if blind.any() else None

    def exposure(self, lines: slice, factors: Tensor) -> Tensor:
        """(K,) sum of the ``factors`` of those of the queries ``lines`` that see the key."""
        exposure = factors.sum().repeat(self.n_keys)
        exposure[self._edge] = factors @ self.visible[lines].to(factors.dtype)
        return exposure

    @property
    def n_keys(self) -> int:
        """Number K of keys."""
        return self.keys.stop - self.keys.start

    @property
    def _edge(self) -> slice:
        return slice(self.edge.start - self.keys.start, self.edge.stop - self.keys.start)


def causal_sight(last_seen: Tensor, hidden: int) -> Sight:
    """Sight of queries that see the keys up to ``last_seen`` (R,), ascending, but for the first ``hidden`` ones."""
    first, stop = int(last_seen[0]) + 1, int(last_seen[-1]) + 1
    if hidden >= stop:
        return _none(len(last_seen), last_seen.device)
    edge = slice(max(first, hidden), stop)
    return Sight(
        slice(hidden, stop), edge, torch.arange(edge.start, edge.stop, device=last_seen.device) <= last_seen[:, None]
    )


def masked_sight(visible: Tensor, hidden: int) -> Sight:
    """Sight of queries that see the keys where ``visible`` (R, keys), but for the first ``hidden`` ones."""
    keys = _span(_any(visible[:, hidden:], dim=0), hidden)
    if keys is None:
        return _none(len(visible), visible.device)
    edge = _span(_any(~visible[:, keys], dim=0), keys.start) or slice(keys.stop, keys.stop)
    return Sight(keys, edge, visible[:, edge])


def _none(n_queries: int, device: torch.device) -> Sight:
    return Sight(slice(0, 1), slice(0, 1), torch.zeros(n_queries, 1, dtype=torch.bool, device=device))


def _span(flags: Tensor, first: int) -> slice | None:
    """From the first to the last place of a set flag, counted from ``first``."""
    places = flags.nonzero()
    return slice(first + int(places[0]), first + int(places[-1]) + 1) if len(places) else None


def _any(flags: Tensor, *, dim: int) -> Tensor:
    """Reduce flags as `Tensor.any` does, ten times as fast."""
    return flags.view(torch.uint8).amax(dim=dim).bool()
