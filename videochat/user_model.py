"""A model that lives outside the package: `--model path/to/file.py:MyModel`.

    class MyModel:                                   # a Commenter, see videochat.commenter
        name = "mine"
        needs = frozenset()
        def score(self, clips, candidates, texts): ...
        def fit(self, train): ...                    # optional: statistics of the training split
        def generate(self, clips, **options): ...    # optional: `videochat generate`
        @staticmethod
        def train(context): ...                      # optional: `videochat train`, fills context.checkpoint

A model that only chooses or orders has `rank(self, clip, texts)` instead of `score` (`videochat.commenter.Chooser`).

`MyModel()` is called, or `MyModel(context)` where it takes an argument: a `LoadContext`, which tells workspace,
dataset, checkpoint folder, device and seed. Whoever names a file runs its code: take files only from people you
trust.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Container
from pathlib import Path
from types import ModuleType
from typing import Any

from .commenter import NEEDS, Chooser, Commenter, LoadContext, ModelEntry
from .errors import UsageError, VideochatError
from .files import digest_file

EXAMPLE = "write --model path/to/file.py:MyModel"


def is_user_model(name: str) -> bool:
    """Whether `name` is of the form file.py:Class (or names a Python file and forgets the class)."""
    return name.rpartition(":")[0].endswith(".py") or name.endswith(".py")


def user_entry(name: str, *, taken: Container[str] = ()) -> ModelEntry:
    """The entry of `path/to/file.py:MyModel`; the file is run, once for each content.

    taken: names of the registry, which it must not bear. Raises UsageError for a file, class, name or need that does
    not fit.
    """
    file, _, attribute = name.rpartition(":")
    if not file:
        raise UsageError(f"{name!r} names no class", fix=EXAMPLE)
    path = Path(file).expanduser()
    if not path.is_file():
        raise UsageError(f"there is no file {file}", fix=EXAMPLE)
    module = _run(path)
    made = getattr(module, attribute, None)
    if not inspect.isclass(made):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value) and _ranks(value)]
        raise UsageError(f"{path.name} has no class {attribute!r}", fix=f"it has {', '.join(classes) or 'none'}")
    label = getattr(made, "name", None)
    if not isinstance(label, str) or not label or not all(c.isalnum() or c in "-_." for c in label) or label[0] == ".":
        raise UsageError(f"{attribute} has the name {label!r}", fix='give it a line such as name = "mine"')
    if label in taken:
        raise UsageError(f"{attribute} bears the name {label!r} of a model of the registry", fix="give it its own")
    needs = getattr(made, "needs", None)
    if not isinstance(needs, (frozenset, set)) or not needs <= NEEDS:
        known = ", ".join(sorted(NEEDS))
        raise UsageError(
            f"{attribute} needs {needs!r}", fix=f'write needs = frozenset({{"frames"}}); known are {known}'
        )
    if not _ranks(made):
        raise UsageError(
            f"{attribute} has no method score (nor rank)", fix="see videochat.commenter for what a model offers"
        )
    train = getattr(made, "train", None)
    return ModelEntry(
        name=label,
        summary=(inspect.getdoc(made) or f"{attribute} of {path.name}").splitlines()[0],
        load=lambda context: _make(made, path, context),
        train=train if callable(train) else None,
    )


def _ranks(made: type) -> bool:
    return any(callable(getattr(made, method, None)) for method in ("score", "rank"))


def _make(made: type, path: Path, context: LoadContext) -> Commenter | Chooser:
    """An instance; its checkpoint_digest, which runs are named by, is the file's unless it has one of its own."""
    commenter: Any = made(context) if _takes_context(made) else made()
    if getattr(commenter, "checkpoint_digest", None) is None:
        commenter.checkpoint_digest = digest_file(path)
    assert isinstance(commenter, (Commenter, Chooser))
    return commenter


def _takes_context(made: type) -> bool:
    return any(
        parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        for parameter in inspect.signature(made).parameters.values()
    )


def _run(path: Path) -> ModuleType:
    """The file as a module of its own; its siblings can be imported, but shadow nothing."""
    name = f"videochat_user_{digest_file(path)[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.append(folder)
    sys.modules[name] = module  # dataclasses look it up there
    try:
        spec.loader.exec_module(module)
    except VideochatError:
        del sys.modules[name]
        raise
    except Exception as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f", line {lines[-1]}" if lines else ""
        what = f"{path.name}{place} fails: {type(error).__name__}: {error}"
        raise UsageError(what, fix="mend it; `python` on the file shows the whole trace") from error
    return module
