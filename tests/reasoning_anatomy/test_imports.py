"""Which module may import which: read from the source, and from a process."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("reasoning_anatomy", "annotations", "analyses", "reports")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
NAMES = [path.relative_to(ROOT).as_posix() for path in FILES]
MODEL_SIDE = ("torch", "transformers", "tokenizers", "accelerate", "bitsandbytes", "gguf")
MODEL_SIDE_FILES = (
    "models.py", "model_change.py", "model_checks.py", "encoding.py", "branch_attention.py", "out_of_memory.py",
    "chain_measurement.py", "pipeline.py", "generation.py",
)  # fmt: skip


def imports(path: Path) -> Iterator[str]:
    """Dotted name of everything that a file imports, wherever in it."""
    package = path.relative_to(ROOT).parent.as_posix().replace("/", ".")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = f"{package}.{node.module}" if node.level else str(node.module)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def is_model_side(name: str) -> bool:
    folder, _, file = name.removeprefix("reasoning_anatomy/").rpartition("/")
    if folder in ("importance", "pruning"):
        return True
    return not folder and (file in MODEL_SIDE_FILES or file.startswith("attention") or file.endswith("likelihood.py"))


def test_the_four_packages_are_here() -> None:
    assert len(FILES) > 30
    assert {name.partition("/")[0] for name in NAMES} == set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_dependencies_point_to_the_core(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    package = name.partition("/")[0]
    allowed = {package, "reasoning_anatomy"}
    if name == "reasoning_anatomy/cli.py":
        allowed = set(PACKAGES)
    assert roots(path) & set(PACKAGES) <= allowed


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_only_the_model_side_imports_torch(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    if not (name.startswith("reasoning_anatomy/") and is_model_side(name)):
        assert roots(path).isdisjoint(MODEL_SIDE)


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[-2] != "annotations"], ids=lambda path: path.name)
def test_only_annotations_import_spacy(path: Path) -> None:
    assert "spacy" not in roots(path)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_nothing_is_unpickled_or_evaluated(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert roots(path).isdisjoint({"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"})
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "compile", "__import__", "torch.load", "np.load", "numpy.load"}
            assert not called.endswith(("read_pickle", "to_pickle"))
            assert not any(word.arg == "allow_pickle" for word in node.keywords)
            assert not any(word.arg == "shell" for word in node.keywords)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_annotations_are_evaluated_and_imports_are_absolute(path: Path) -> None:
    assert "__future__.annotations" not in set(imports(path))
    relative = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom) and node.level]
    assert relative == []


def python(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "spacy", "pandas", "matplotlib", "scipy", "sklearn", "statsmodels", "pyarrow", "numpy")
    assert python(f"import sys, reasoning_anatomy; print(sorted(set({heavy}) & sys.modules.keys()))") == "[]\n"


def test_every_name_of_the_package_is_found() -> None:
    import reasoning_anatomy

    for name in reasoning_anatomy.__all__:
        assert getattr(reasoning_anatomy, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import reasoning_anatomy

    with pytest.raises(AttributeError, match="module 'reasoning_anatomy' has no attribute 'nope'"):
        reasoning_anatomy.nope  # noqa: B018


def test_everything_but_the_model_side_works_without_torch() -> None:
    core = [name for name in NAMES if not (name.startswith("reasoning_anatomy/") and is_model_side(name))]
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in core]
    assert {"reasoning_anatomy.run.folder", "analyses.rank_correlation", "reports.layer_head_map", "annotations.spacy"} <= set(
        modules
    )
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
