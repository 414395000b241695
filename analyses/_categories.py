"""The six categories as the tables of a run name them, and how analyses merge them.

The definitions are those of ``annotations.scheme``, which analyses do not import: a test holds the two together.
"""

from typing import Final

CATEGORIES: Final = ("SYMBOLIC_MATH", "VERBAL_MATH", "COREFERENCE", "META_DISCOURSE", "ENTITY_NAME", "FUNCTION")

SCHEMES: Final = {
    "categories": CATEGORIES,
    "classes": (
        "symbolic_computation",
        "symbolic_computation",
        "linguistic_scaffolding",
        "linguistic_scaffolding",
        "linguistic_scaffolding",
        "linguistic_scaffolding",
    ),
    "classes_entities_apart": (
        "symbolic_computation",
        "symbolic_computation",
        "linguistic_scaffolding",
        "linguistic_scaffolding",
        "problem_content",
        "linguistic_scaffolding",
    ),
}
"""What each of the `CATEGORIES` is called: itself, its class, or its class with the contestable ENTITY_NAME as a third."""
