"""Write what is generated in the docs: the tree in README.md and the commands' help in docs/commands.md.

    python docs/make.py            # write
    python docs/make.py --check    # exit 1 if something on disk differs

The tree's clauses are the first lines of the modules' docstrings, the commands' texts are their own help.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- tree: made by docs/make.py -->", "<!-- end of tree -->"
FOLDERS = ("videochat", "benchmark", "models", "data_cards")
WIDTH = 30


def clause(path: Path) -> str:
    """The first line of a module's docstring, without its full stop."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def tree() -> str:
    lines = []
    for folder in FOLDERS:
        lines += _folder(ROOT / folder, 0)
    return "\n".join(lines)


def _folder(folder: Path, depth: int) -> list[str]:
    indent = "  " * depth
    head = f"{indent}{folder.name}/"
    own = folder / "__init__.py"
    lines = [f"{head.ljust(WIDTH)} {clause(own) if own.is_file() else ''}".rstrip()]
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            lines.append(f"{f'{indent}  {path.name}'.ljust(WIDTH)} {clause(path)}")
    for path in sorted(folder.iterdir()):
        if path.is_dir() and any(path.glob("*.py")):
            lines += _folder(path, depth + 1)
    return lines


def readme() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n```text\n{tree()}\n```\n{END}{after}"


def commands() -> str:
    from videochat.cli import COMMANDS, cli

    parts = ["# Commands", "", "Made by `docs/make.py` from the commands' own help.", ""]
    root = click.Context(cli, info_name="videochat", max_content_width=100, terminal_width=100)
    parts += ["```text", root.get_help(), "```", ""]
    for name in COMMANDS:
        command = cli.get_command(root, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=root, max_content_width=100, terminal_width=100)
        parts += [f"## {name}", "", "```text", command.get_help(context), "```", ""]
    return "\n".join(parts)


def main() -> int:
    made = {ROOT / "README.md": readme(), ROOT / "docs" / "commands.md": commands()}
    stale = [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what docs/make.py makes; run `make docs`")
        return 1 if stale else 0
    for path in stale:
        path.write_text(made[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
