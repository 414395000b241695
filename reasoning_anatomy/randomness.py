"""Random numbers that belong to a chain: the same whatever else is in its file, and in whatever order."""

import hashlib
import json

import numpy as np


def chain_generator(purpose: str, seed: int, chain_id: str) -> np.random.Generator:
    """Make the generator of one chain.

    Parameters
    ----------
    purpose
        Key of the plugin that draws, so that two of them on one chain and seed are independent.
    seed
        Any integer.
    chain_id
        Id of the chain; chains draw independently.
    """
    text = json.dumps([purpose, seed, chain_id])
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()))
