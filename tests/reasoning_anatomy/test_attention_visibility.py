"""What queries see, against the whole mask."""

import pytest
import torch
from torch import Tensor

from reasoning_anatomy.attention.visibility import Visibility, causal_visibility, visibility_in_mask

ROWS, N_KEYS = torch.tensor([2, 3, 7]), 9
QUERY, KEY = ROWS[:, None], torch.arange(N_KEYS)
MASKS = {
    "causal": KEY <= QUERY,
    "window of 3": (KEY <= QUERY) & (QUERY - KEY < 3),
    "chunks of 4": (KEY <= QUERY) & (QUERY // 4 == KEY // 4),
    "one query sees nothing": (KEY <= QUERY) & (QUERY != 3),
    "nobody sees anything": KEY > N_KEYS + QUERY,
    "all see all": KEY < N_KEYS + QUERY,
    "holes": (QUERY + KEY) % 3 == 0,
}


def expect_visibility(visibility: Visibility, visible: Tensor) -> None:
    found = torch.zeros(visible.shape, dtype=torch.bool)
    scores = torch.zeros(2, len(visible), visibility.n_keys)
    visibility.hide(scores)
    assert torch.equal(scores[0], scores[1])
    found[:, visibility.keys] = scores[0] == 0
    assert torch.equal(found, visible)
    assert visibility.n_visible().tolist() == visible.sum(1).tolist()
    masked = visibility.fully_masked()
    assert (torch.zeros(len(visible), dtype=torch.bool) if masked is None else masked).tolist() == (~visible.any(1)).tolist()
    factors = torch.tensor([1.0, 2.0])
    assert visibility.exposure(slice(1, 3), factors).tolist() == (factors @ visible[1:, visibility.keys].float()).tolist()


@pytest.mark.parametrize("first_key", [0, 1, 3, 5, 9, 12])
@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_seen_whole(name, first_key):
    expect_visibility(visibility_in_mask(MASKS[name], first_key), MASKS[name] & (first_key <= KEY))


@pytest.mark.parametrize("first_key", [0, 1, 3, 5, 9, 12])
def test_causal_visibility_is_that_of_the_causal_mask(first_key):
    expect_visibility(causal_visibility(ROWS, first_key), MASKS["causal"] & (first_key <= KEY))
