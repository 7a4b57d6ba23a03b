"""The end of the pseudonym key: after it nobody, the maintainer included, can say which rows a person wrote.

    destroy_key(workspace)          # what was removed, what stays, what forgetting can no longer do

A mark (pseudonym.destroyed.json) takes the key's place, so that no step makes a new one by mistake: rows of two keys
in one data set would count one person as two.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Mismatch
from ..files import read_json

if TYPE_CHECKING:
    from ..workspace import Workspace

MARK = "pseudonym.destroyed.json"


def mark_path(workspace: Workspace) -> Path:
    return workspace.root / MARK


def require_living_key(workspace: Workspace) -> None:
    """Raises Mismatch if the pseudonym key was destroyed."""
    path = mark_path(workspace)
    if path.is_file():
        raise Mismatch(
            f"the pseudonym key of {workspace.root} was destroyed on {read_json(path)['at'][:10]}: "
            "its data set is final and takes in no more chat",
            fix="use another workspace for new recordings (--data)",
        )
