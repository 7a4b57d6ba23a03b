"""Runs of many people as a static site that opens from disk: one table for each protocol and data, nothing fetched"""

from __future__ import annotations

from .boards import Board, BoardRow, boards_of
from .site import build_site

__all__ = ["Board", "BoardRow", "boards_of", "build_site"]
