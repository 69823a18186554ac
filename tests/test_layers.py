"""The house stands: imports go down only, rooms on one floor never meet, cold rooms load neither torch nor ray."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "pmd_ray"
FLOOR = {
    "spec": 1,
    **dict.fromkeys(("kg", "model", "stats"), 2),
    **dict.fromkeys(("train", "plan", "store"), 3),
    **dict.fromkeys(("run", "report"), 4),
    **dict.fromkeys(("cli", "api", "__main__"), 5),
}
ROOF = "__init__"
"""pmd_ray/__init__.py: hands out the functions of `api` on first use."""
SIBLINGS = {("cli", "api"), ("__main__", "cli"), (ROOF, "api")}
"""On one floor, but meant to meet."""
COLD = ("spec", "kg", "stats", "plan", "store")
HEAVY = ("torch", "ray", "transformers")


def room_of(path: Path, package: Path) -> str:
    return path.relative_to(package).parts[0].removesuffix(".py")


def imported(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import, wherever it stands: in functions and under TYPE_CHECKING too."""
    here = [package.name, *path.relative_to(package).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def violations(package: Path) -> list[str]:
    """Every import that the floors forbid."""
    public = _public(package / "__init__.py")
    found = []
    for path in sorted(package.rglob("*.py")):
        source = room_of(path, package)
        for line, name in imported(path, package):
            where = f"{path.relative_to(package)}:{line}: {source} imports {name}"
            top, *rest = name.split(".")
            if top == "ray" and source != "run":
                found.append(f"{where}; only run may")
            if top in HEAVY and source in COLD:
                found.append(f"{where}; {source} stays cold")
            if top != package.name or not rest:
                continue
            target = "api" if rest[0] in public else rest[0]
            if source not in FLOOR and source != ROOF:
                found.append(f"{where}; the room has no floor")
            elif target in FLOOR and not _may(source, target):
                found.append(where)
            elif target not in FLOOR and (package / target).is_dir():
                found.append(f"{where}; that room has no floor")
    return found


def _may(source: str, target: str) -> bool:
    if source == target or (source, target) in SIBLINGS:
        return True
    return source != ROOF and FLOOR[target] < FLOOR[source]


def _public(init: Path) -> set[str]:
    """The names that the package hands out from `api`: whoever imports one of them imports api."""
    for node in ast.walk(ast.parse(init.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return set(ast.literal_eval(node.value))
    return set()


def test_imports_go_down_only() -> None:
    assert (PACKAGE / "spec" / "chain.py").is_file()
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("spec/a.py", "from pmd_ray.kg import graph", "spec imports pmd_ray.kg.graph"),
        ("kg/a.py", "import pmd_ray.model.build", "kg imports pmd_ray.model.build"),
        ("kg/a.py", "from pmd_ray import model", "kg imports pmd_ray.model"),
        ("kg/a.py", "from pmd_ray import distil", "kg imports pmd_ray.distil"),
        ("kg/a.py", "from ..train import loop", "kg imports pmd_ray.train.loop"),
        ("kg/sub/a.py", "from ...train import loop", "kg imports pmd_ray.train.loop"),
        ("spec/a.py", "def f():\n    from pmd_ray.run import chain", "spec imports pmd_ray.run.chain"),
        (
            "model/a.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pmd_ray.train import loop",
            "model imports pmd_ray.train.loop",
        ),
        ("train/a.py", "def f():\n    import ray.train", "only run may"),
        ("cli/a.py", "import ray", "only run may"),
        ("api.py", "from pmd_ray.cli import main", "api imports pmd_ray.cli.main"),
        ("store/a.py", "def f():\n    import torch", "store stays cold"),
        ("kg/a.py", "from transformers import AutoTokenizer", "kg stays cold"),
        ("__init__.py", "from pmd_ray.spec import chain", "__init__ imports pmd_ray.spec.chain"),
        ("attic/a.py", "from pmd_ray.spec import chain", "the room has no floor"),
        ("run/a.py", "from pmd_ray.report import table", "run imports pmd_ray.report.table"),
    ],
)
def test_a_planted_violation_is_found(tmp_path: Path, file: str, text: str, found: str) -> None:
    package = plant(tmp_path, {file: text})
    assert [line for line in violations(package) if found in line]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("run/a.py", "import ray\nfrom pmd_ray.train import loop\nfrom pmd_ray import __version__"),
        ("cli/a.py", "from pmd_ray import api\nfrom pmd_ray import distil"),
        ("model/a.py", "import torch\nfrom . import b\nfrom pmd_ray.spec import chain"),
        ("train/a.py", "import torch, transformers, rayon"),
    ],
)
def test_what_is_allowed_is_not_found(tmp_path: Path, file: str, text: str) -> None:
    assert violations(plant(tmp_path, {file: text})) == []


def plant(folder: Path, files: dict[str, str]) -> Path:
    package = folder / "pmd_ray"
    for name, text in {"__init__.py": "__all__ = ['distil']\n", **files}.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text, encoding="utf-8")
    return package


@pytest.mark.parametrize("room", [room for room in COLD if (PACKAGE / room).is_dir()])
def test_cold_rooms_load_nothing_heavy(room: str) -> None:
    modules = [
        ".".join(("pmd_ray", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
        for path in sorted((PACKAGE / room).rglob("*.py"))
        if path.name != "__main__.py" and "bundled" not in path.parts
    ]
    assert_light(f"import importlib\nfor name in {modules}: importlib.import_module(name)")


def test_loading_every_shipped_chain_loads_nothing_heavy() -> None:
    assert_light(
        "from pmd_ray.spec import chain_file\n"
        "for name in chain_file.shipped_chains(): chain_file.dump_chain(chain_file.load_chain(name))"
    )


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert_light("import pmd_ray")


def test_the_check_for_heavy_modules_can_fail() -> None:
    with pytest.raises(AssertionError, match="transformers"):
        assert_light("import types; sys.modules['transformers'] = types.ModuleType('transformers')")


def assert_light(code: str) -> None:
    """Run `code` in a fresh interpreter; afterwards no heavy module may be there."""
    code = f"import sys\n{code}\nprint(sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("[]"), f"loaded {done.stdout.strip()}"
