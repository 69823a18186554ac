"""The README stays true: its picture names every file, and nothing that is not there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _picture() -> dict[str, set[str]]:
    """Room to the file names that the picture lists under it."""
    block = README[README.index("```\npmd_ray/") :].split("```")[1]
    rooms: dict[str, set[str]] = {"": set()}
    room = ""
    for line in block.splitlines():
        found = re.match(r"( *)(\S+)", line)
        if not found:
            continue
        indent, name = len(found[1]), found[2]
        if indent == 2:
            room = name.rstrip("/") if name.endswith("/") else ""
            rooms.setdefault(room, set())
        if indent == 4 or (indent == 2 and name.endswith(".py")):
            rooms[room].add(name)
        if indent == 0:
            room = ""
    return rooms


def test_every_file_of_the_package_is_in_the_picture() -> None:
    picture = _picture()
    for room in sorted(path for path in (ROOT / "pmd_ray").iterdir() if (path / "__init__.py").is_file()):
        there = {path.name for path in room.glob("*.py") if path.name not in ("__init__.py", "__main__.py")}
        there |= {f"{path.name}/" for path in room.iterdir() if path.is_dir() and path.name != "__pycache__"}
        assert picture[room.name] == there, room.name


def test_parts_found_by_name_are_in_the_picture() -> None:
    for room in ("spec/teacher_choices", "model/layer_maps", "model/mask_policies", "model/losses", "kg/imports"):
        names = sorted(p.stem for p in (ROOT / "pmd_ray" / room).glob("*.py") if not p.stem.startswith("_"))
        line = next(line for line in README.splitlines() if line.strip().startswith(room.split("/")[1] + "/"))
        assert all(name in line for name in names), (room, names)


def test_no_placeholder_is_left() -> None:
    assert not re.findall(r"@[A-Z]+@", README)
