"""The documents name files and symbols that exist, and the map names every module."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
IN_CODE = re.compile(r"`((?:app|assets|docs|engine|packaging|tests)/[^`\s]*|[\w.-]+\.(?:toml|yml|lock))`")
NAME_IN_FILE = re.compile(r"`(\w+)`\s+(?:in|of)\s+`((?:app|engine|tests)/[^`\s]*[.]py)`")
IN_LINKS = re.compile(r"\]\((?!https?:)([^)#]+)")


def named_paths(document: str) -> list[Path]:
    """Paths in code spans, from the root; and link targets, from the document's folder."""
    text = (ROOT / document).read_text(encoding="utf-8")
    folder = (ROOT / document).parent
    return [ROOT / name for name in IN_CODE.findall(text)] + [folder / name for name in IN_LINKS.findall(text)]


def defined_names(path: Path) -> set[str]:
    """Names that a module, or a class in it, defines by def, class or assignment."""
    names, bodies = set(), [ast.parse(path.read_text(encoding="utf-8")).body]
    for body in bodies:
        for node in body:
            if isinstance(node, ast.ClassDef):
                bodies.append(node.body)
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return names


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_exists(document: str) -> None:
    assert [str(path.relative_to(ROOT)) for path in named_paths(document) if not path.resolve().exists()] == []


def test_the_map_names_every_module() -> None:
    named = set(named_paths("docs/architecture.md"))
    modules = [path for package in ("app", "engine") for path in (ROOT / package).rglob("*.py")]
    assert len(modules) > 100
    assert [str(path.relative_to(ROOT)) for path in modules if path.name != "__init__.py" and path not in named] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_names_are_in_the_files_where_a_document_has_them(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    wrong = [(name, path) for name, path in NAME_IN_FILE.findall(text) if name not in defined_names(ROOT / path)]
    assert wrong == []


def test_the_nginx_configuration_of_the_document_is_the_file_s() -> None:
    shown = re.search(r"```nginx\n(.*?)```", (ROOT / "docs/portals.md").read_text(encoding="utf-8"), re.DOTALL)
    assert shown
    assert shown[1] in (ROOT / "packaging/nginx/mesoscope.conf").read_text(encoding="utf-8")
