"""The six categories of a reasoning token and the two classes above them.

They are the vocabulary of a run's tables; the definitions and the rules of decision are in ``annotations/guidelines.md``.
"""

from typing import Final, Literal, get_args

Category = Literal["SYMBOLIC_MATH", "VERBAL_MATH", "COREFERENCE", "META_DISCOURSE", "ENTITY_NAME", "FUNCTION"]

SYMBOLIC_MATH: Final = "SYMBOLIC_MATH"
VERBAL_MATH: Final = "VERBAL_MATH"
COREFERENCE: Final = "COREFERENCE"
META_DISCOURSE: Final = "META_DISCOURSE"
ENTITY_NAME: Final = "ENTITY_NAME"
FUNCTION: Final = "FUNCTION"

CATEGORIES: Final[tuple[Category, ...]] = get_args(Category)
"""All six, in the order of rule 10: torn between two, take the earlier."""

SYMBOLIC_COMPUTATION: Final = "symbolic_computation"
LINGUISTIC_SCAFFOLDING: Final = "linguistic_scaffolding"
PROBLEM_CONTENT: Final = "problem_content"

CLASSES: Final = (SYMBOLIC_COMPUTATION, LINGUISTIC_SCAFFOLDING)


def class_of(category: str, *, entities: Literal["scaffolding", "problem_content"] = "scaffolding") -> str:
    """Class of a category.

    Parameters
    ----------
    category
        One of `CATEGORIES`.
    entities
        Where ``ENTITY_NAME``, the contestable member, belongs: with the scaffolding, or taken out as a third
        class.

    Returns
    -------
    ``"symbolic_computation"``, ``"linguistic_scaffolding"`` or, only if asked for, ``"problem_content"``.

    Examples
    --------
    >>> class_of("VERBAL_MATH")
    'symbolic_computation'
    >>> class_of("ENTITY_NAME"), class_of("ENTITY_NAME", entities="problem_content")
    ('linguistic_scaffolding', 'problem_content')
    """
    if category not in CATEGORIES:
        raise ValueError(f"unknown category {category!r}; expected one of {', '.join(CATEGORIES)}")
    if entities not in ("scaffolding", "problem_content"):
        raise ValueError(f"entities={entities!r}; expected 'scaffolding' or 'problem_content'")
    if category in (SYMBOLIC_MATH, VERBAL_MATH):
        return SYMBOLIC_COMPUTATION
    if category == ENTITY_NAME and entities == "problem_content":
        return PROBLEM_CONTENT
    return LINGUISTIC_SCAFFOLDING


SCHEMES: Final = {
    "categories": CATEGORIES,
    "classes": tuple(class_of(category) for category in CATEGORIES),
    "classes_entities_apart": tuple(class_of(category, entities="problem_content") for category in CATEGORIES),
}
"""What each of the `CATEGORIES` is called: itself, its class, or its class with the contestable ENTITY_NAME as a third."""
