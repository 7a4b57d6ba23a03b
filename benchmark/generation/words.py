"""The words of a comment, the same for every metric: lower-cased, cut by the WMT tokenizer 13a of sacrebleu.

>>> words("Nice shot, DUDE!!")
['nice', 'shot', ',', 'dude', '!', '!']
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from videochat.errors import UsageError

INSTALL = "pip install 'videochat-toolkit[generation]'"


def library(name: str) -> Any:
    """A module of the extra `generation`; UsageError with the install line if it is not there."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"generated comments are measured with {error.name}", fix=INSTALL) from None


@cache
def _tokenizer() -> Any:
    return library("sacrebleu.tokenizers.tokenizer_13a").Tokenizer13a()


def words(text: str) -> list[str]:
    """Possibly none, for a text of white space."""
    found: list[str] = _tokenizer()(text.lower()).split()
    return found
