"""Build datasets of live video with its chat, and benchmark the models that comment on it.

    import videochat
    data = videochat.load("videochat-data")             # the shards of a workspace
    sets = videochat.candidates(data, protocol="v1")    # frozen candidate sets
    run = videochat.evaluate("sfat", data, sets)        # any Commenter, by name or as an object
    run.metrics()                                       # a pandas DataFrame

Importing this package costs nothing: the three functions load what they need when first called.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

__version__ = "0.1.0"
__all__ = ["__version__", "candidates", "evaluate", "load"]

_HERE = Path(__file__).resolve().parent


class _CheckoutFinder:
    """In a checkout `benchmark/`, `models/` and `data_cards/` lie beside `videochat/`; find just these names there.

    An installed wheel holds them inside the package, where Python finds them without help.
    """

    FOLDERS: ClassVar = {
        f"{__name__}.{folder}": _HERE.parent / folder for folder in ("benchmark", "models", "data_cards")
    }

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        folder = cls.FOLDERS.get(fullname)
        if folder is None or (_HERE / folder.name).is_dir() or not (folder / "__init__.py").is_file():
            return None
        return importlib.util.spec_from_file_location(
            fullname, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


if not any(getattr(finder, "__name__", "") == "_CheckoutFinder" for finder in sys.meta_path):
    sys.meta_path.insert(0, _CheckoutFinder)


def __getattr__(name: str) -> Any:
    if name in ("load", "candidates", "evaluate"):
        return getattr(importlib.import_module(f"{__name__}.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
