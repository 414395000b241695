"""Checks of the options of plugins; `ValueError` names the first one that is out of range."""

from urllib.parse import urlsplit


def expect_ratio(plugin: object, *names: str) -> None:
    """Refuse options outside 0..1; None stands for a default and passes."""
    for name in names:
        value = getattr(plugin, name)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}, expected 0..1")


def expect_at_least(plugin: object, **least: float) -> None:
    """Refuse options below their least value; None stands for a default and passes."""
    for name, smallest in least.items():
        value = getattr(plugin, name)
        if value is not None and not value >= smallest:
            raise ValueError(f"{name} is {value}, expected {smallest} or more")


def expect_address(url: str) -> None:
    """Raise `ValueError` if an address is not one, or holds something that must not end up in a table."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = "(not shown: it holds an @)" if "@" in url else repr(url)
        raise ValueError(f"url={shown}: expected an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("url: holds a user, a key or a query, which every table would show; give the key by key_variable")
