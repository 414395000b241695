"""Which module may import which: read from the source, and from a process."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("reasoning_anatomy", "annotations", "analyses", "reports")
TREES = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
MODEL_SIDE = ("torch", "transformers", "tokenizers", "accelerate", "bitsandbytes", "gguf")

ROOMS_WITHOUT_TORCH = ("hallway", "steps", "run", "conversion", "interchange", "cli")
MODEL_ROOMS = (
    "models", "attention", "likelihood", "eviction", "generation", "importance", "pruning", "pipeline", "evaluation",
    "distillation",
)  # fmt: skip
EDGES = {
    "hallway": (),
    "steps": (),
    "run": ("steps",),
    "models": (),
    "attention": ("models",),
    "likelihood": ("models",),
    "eviction": ("models", "steps"),
    "generation": ("eviction", "models", "steps"),
    "importance": ("attention", "likelihood", "models", "steps"),
    "pruning": ("likelihood", "models", "steps"),
    "pipeline": (*MODEL_ROOMS[:-3], "run", "steps"),
    "evaluation": ("eviction", "generation", "models", "pipeline", "pruning", "run", "steps"),
    "distillation": ("evaluation", "generation", "models", "pipeline", "pruning", "run", "steps"),
    "conversion": (),
    "interchange": ("run", "pipeline", "models", "importance"),
    "cli": (*MODEL_ROOMS, "run", "steps", "conversion", "interchange"),
}
"""Which rooms of the core a room may import, beside the hallway and itself."""

HALLWAY_FOLDERS = ("answers",)
"""Folders whose files belong to the hallway."""

FACADES = (
    "reasoning_anatomy/__init__.py", "reasoning_anatomy/attention_observation.py", "reasoning_anatomy/plugins.py",
)  # fmt: skip
"""Files of the hallway that only say where a name lives, and what type it has."""


def imports(tree: ast.Module) -> Iterator[str]:
    """Dotted name of everything that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def roots(tree: ast.Module) -> set[str]:
    return {name.partition(".")[0] for name in imports(tree)}


def room_of(name: str) -> str:
    """Room of a file of the core, or of a dotted name in it."""
    parts = name.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if len(parts) > 1 and parts[1] in EDGES else "hallway"


def is_model_side(name: str) -> bool:
    return name.startswith("reasoning_anatomy/") and room_of(name) in MODEL_ROOMS


def test_every_room_is_known_and_every_known_room_is_here() -> None:
    folders = {name.split("/")[1] for name in TREES if name.startswith("reasoning_anatomy/") and name.count("/") > 1}
    assert folders - set(HALLWAY_FOLDERS) == set(EDGES) - {"hallway"} == {*MODEL_ROOMS, *ROOMS_WITHOUT_TORCH} - {"hallway"}
    assert {name.partition("/")[0] for name in TREES} == set(PACKAGES)


def test_rooms_of_the_core_import_only_what_lies_below_them() -> None:
    offenders = [
        f"{name}: {imported}"
        for name, tree in TREES.items()
        if name.startswith("reasoning_anatomy/") and name not in FACADES
        for imported in imports(tree)
        if imported.startswith("reasoning_anatomy.")
        if room_of(imported) not in ("hallway", room_of(name), *EDGES[room_of(name)])
    ]
    assert offenders == []


def test_packages_meet_in_the_run_folder_and_import_the_core_alone() -> None:
    offenders = [
        f"{name}: {package}"
        for name, tree in TREES.items()
        if not name.startswith("reasoning_anatomy/cli/") and name not in FACADES
        for package in roots(tree) & set(PACKAGES) - {name.partition("/")[0], "reasoning_anatomy"}
    ]
    assert offenders == []


def test_only_the_model_side_imports_torch() -> None:
    offenders = [
        f"{name}: {root}" for name, tree in TREES.items() if not is_model_side(name) for root in roots(tree) & set(MODEL_SIDE)
    ]
    assert offenders == []


def test_only_the_worker_of_formulas_imports_math_verify() -> None:
    importers = [name for name, tree in TREES.items() if roots(tree) & {"math_verify", "sympy", "latex2sympy2_extended"}]
    assert importers == ["reasoning_anatomy/answers/formula_worker.py"]


def test_the_worker_of_formulas_runs_without_this_library() -> None:
    assert "reasoning_anatomy" not in roots(TREES["reasoning_anatomy/answers/formula_worker.py"])


def test_only_annotations_import_spacy() -> None:
    assert [name for name, tree in TREES.items() if not name.startswith("annotations/") and "spacy" in roots(tree)] == []


def test_nothing_is_unpickled_or_evaluated() -> None:
    forbidden = {"eval", "exec", "compile", "__import__", "torch.load", "np.load", "numpy.load"}
    offenders = []
    for name, tree in TREES.items():
        pickling = roots(tree) & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
        offenders += [f"{name}: {module}" for module in pickling]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                words = {word.arg for word in node.keywords} & {"allow_pickle", "shell"}
                if called in forbidden or called.endswith(("read_pickle", "to_pickle")) or words:
                    offenders.append(f"{name}, line {node.lineno}: {called}")
    assert offenders == []


def test_annotations_are_evaluated_and_imports_are_absolute() -> None:
    offenders = [name for name, tree in TREES.items() if "__future__.annotations" in set(imports(tree))]
    offenders += [
        f"{name}, line {node.lineno}"
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert offenders == []


def python(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "spacy", "pandas", "matplotlib", "scipy", "sklearn", "statsmodels", "pyarrow", "numpy")
    assert python(f"import sys, reasoning_anatomy; print(sorted(set({heavy}) & sys.modules.keys()))") == "[]\n"


def test_every_name_of_the_package_is_found() -> None:
    import reasoning_anatomy

    for name in set(reasoning_anatomy.__all__) - {"__version__"}:
        assert getattr(reasoning_anatomy, name).__name__ == name


@pytest.mark.parametrize("package", [name for name in TREES if name.endswith("/__init__.py")])
def test_no_name_that_a_package_offers_is_that_of_a_module_in_it(package: str) -> None:
    """Whoever imports the module puts it in the place of the name."""
    offered = [
        ast.literal_eval(node.value)
        for node in TREES[package].body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
    ]
    folder = (ROOT / package).parent
    modules = {path.stem for path in folder.iterdir()}
    assert modules.isdisjoint(name for names in offered for name in names)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import reasoning_anatomy

    with pytest.raises(AttributeError, match="module 'reasoning_anatomy' has no attribute 'nope'"):
        reasoning_anatomy.nope  # noqa: B018


def test_everything_but_the_model_side_works_without_torch() -> None:
    core = [name for name in TREES if not is_model_side(name)]
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in core]
    assert {
        "reasoning_anatomy.run.folder",
        "analyses.rank_correlation",
        "reports.figures.head_map",
        "annotations.rules",
    } <= set(modules)
    script = (
        "import importlib, sys\nclass Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {MODEL_SIDE}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "from reasoning_anatomy.plugins import available, load\n"
        "print(len([load(kind, key) for kind in ('analysis', 'figure', 'annotator') for key in available(kind)]))"
    )
    assert int(python(script)) >= 6
