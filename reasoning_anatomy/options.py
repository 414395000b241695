"""Checks of the options of plugins; `ValueError` names the first one that is out of range."""


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
