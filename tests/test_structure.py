"""The tree keeps its promises: who imports whom, what is packaged, and what starting costs."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("videochat", "benchmark", "models", "data_cards")
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = {"torch", "torchvision", "transformers", "open_clip", "accelerate"}


def modules() -> list[tuple[str, Path]]:
    """(dotted name, path) of every module of the package."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if parts[0] == "videochat" else ("videochat", *parts)
            found.append((".".join(parts).removesuffix(".__init__"), path))
    return found


def imports(name: str, path: Path, *, top_level: bool = False) -> set[str]:
    """Absolute dotted names of what a module imports; with top_level only what runs when it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    nodes = list(_at_import(tree)) if top_level else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return found


def _at_import(tree: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found += [node, *_at_import(node)]
    return found


def within(imported: set[str], package: str) -> set[str]:
    return {name for name in imported if name == package or name.startswith(f"{package}.")}


OUTER = (
    "videochat.cli",
    "videochat.api",
    "videochat.demo",
    "videochat.zoo",
    "videochat.experiment",
    "videochat.benchmark.speed",
)


def test_imports_point_inwards() -> None:
    for name, path in modules():
        found = imports(name, path)
        assert not within(found, "benchmark"), f"{name} imports the bare benchmark"
        assert not within(found, "models"), f"{name} imports the bare models"
        if name.startswith(OUTER):
            continue
        assert not within(found, "videochat.cli"), f"{name} imports the command line"
        if name.startswith("videochat.benchmark"):
            assert not within(found, "videochat.models"), f"{name} imports models"
        elif name.startswith("videochat.models"):
            assert not within(found, "videochat.benchmark"), f"{name} imports the benchmark"
        else:
            assert not within(found, "videochat.benchmark"), f"{name} imports the benchmark"
            assert not within(found, "videochat.models"), f"{name} imports models"


def test_the_parts_of_the_benchmark_import_in_one_direction() -> None:
    """Folders and top-level modules of benchmark/ can be read in an order in which each needs only earlier ones.

    Imports for types alone count, too; importing a module of another part by a string would be missed.
    """
    needs: dict[str, set[str]] = {}
    for name, path in modules():
        part = name.removeprefix("videochat.benchmark").lstrip(".").partition(".")[0]
        if not name.startswith("videochat.benchmark") or not part:
            continue
        found = within(imports(name, path), "videochat.benchmark")
        parts = {imported.split(".")[2] for imported in found if imported.count(".") >= 2}
        needs.setdefault(part, set()).update(parts - {part})
    try:
        order = list(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"parts of benchmark/ import each other in a circle: {' <- '.join(error.args[1])}")
    assert order.index("metrics") < order.index("candidates") < order.index("scorers") < order.index("ranker")


def test_the_core_imports_no_outer_part() -> None:
    outer = ("sources", "cleaning", "frames", "sample", "engines", "shards", "build")
    for core in ("schema", "clock", "errors", "registry", "files", "ledger", "workspace", "commenter"):
        found = imports(f"videochat.{core}", ROOT / "videochat" / f"{core}.py")
        for part in outer:
            assert not within(found, f"videochat.{part}"), f"{core} imports {part}"


def test_heavy_packages_stay_in_their_rooms() -> None:
    rooms = ("videochat.models", "videochat.frames", "videochat.sample", "videochat.benchmark.speed")
    for name, path in modules():
        roots = {imported.partition(".")[0] for imported in imports(name, path, top_level=True)}
        if not name.startswith(rooms):
            assert not roots & HEAVY, f"{name} imports {roots & HEAVY} at the top"


@pytest.mark.parametrize("package", ["benchmark", "models", "data_cards"])
def test_a_bare_name_is_refused(package: str) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {package}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"import this package as videochat.{package}" in done.stderr


def test_the_package_list_is_the_tree() -> None:
    listed = set(CONFIG["tool"]["setuptools"]["packages"])
    assert listed == {name for name, path in modules() if path.name == "__init__.py"}


def test_help_is_quick_and_light() -> None:
    code = (
        "import sys; from videochat.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted(set(sys.modules) & {'torch', 'pyarrow', 'pandas', 'numpy', 'av', 'transformers'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "build-features" in done.stdout


def test_no_pickle_no_shell() -> None:
    for name, path in modules():
        text = path.read_text(encoding="utf-8")
        for danger in (
            "pickle.load",
            "shell=True",
            "os.system",
            "weights_only=False",
            "allow_pickle=True",
            "yaml.load(",
        ):
            assert danger not in text, f"{danger} in {name}"
