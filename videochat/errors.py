"""What can go wrong, in a few kinds, each one line that says what, why and what to do.

    raise UsageError("clip geometry 30 s does not divide ...", fix="pass --clip-seconds 30")

The command line prints `error: <what>` and `fix: <what to do>`; exit codes are in `videochat.cli`.
"""

from __future__ import annotations


class VideochatError(Exception):
    """Base of every error that this package raises on purpose.

    what: one sentence with the offending value and what was expected.
    fix: one sentence that says what to do, or "".
    """

    exit_code = 1

    def __init__(self, what: str, *, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} ({self.fix})" if self.fix else self.what


class UsageError(VideochatError, ValueError):
    """The user's mistake in an argument or a configuration (exit 2)."""

    exit_code = 2


class MissingInput(VideochatError):
    """Something an earlier step or the user must provide is not there: a file, shards, a checkpoint."""


class Mismatch(VideochatError):
    """Two things that must belong together do not: digests, fingerprints, settings that drifted."""


class Damaged(VideochatError):
    """A file that this package wrote is not whole any more: cut off, overwritten, edited by hand."""


class Locked(VideochatError):
    """Another command works in the same workspace."""


class BadRecording(VideochatError):
    """One recording cannot go through one step; data, not a crash: it becomes a ledger row and the run goes on.

    error_class: a short slug for the ledger and `--retry failed:<class>`, such as "no-video-frames".
    """

    exit_code = 3

    def __init__(self, error_class: str, what: str, *, fix: str = "") -> None:
        super().__init__(what, fix=fix)
        self.error_class = error_class

    def __reduce__(self) -> tuple[type[BadRecording], tuple[str, str], dict[str, str]]:
        return type(self), (self.error_class, self.what), {"fix": self.fix}
