"""A workspace: one folder with everything of one dataset, the choices that must not drift, a lock and a ledger.

    workspace = Workspace.open(path, create=True)      # --data DIR, else VIDEOCHAT_DATA, else ./videochat-data
    with workspace.lock():
        for recording in workspace.recordings(): ...

The layout is the way of the data (DESIGN): raw → comments, frames, texts, transcripts → shards → candidates →
checkpoints → runs.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import secrets
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import __version__
from .clock import ClipGeometry
from .errors import Locked, Mismatch, MissingInput, UsageError
from .files import damaged, digest_file, read_json, sweep, unfinished, write_json, write_text
from .ledger import Ledger
from .schema import Recording

DEFAULT_FOLDER = "videochat-data"
ENVIRONMENT_VARIABLE = "VIDEOCHAT_DATA"
KEY_BYTES = 32
KEY_DESTROYED = "pseudonym.destroyed.json"  # takes the key's place, see rights/keys.py


@dataclass(frozen=True, kw_only=True)
class Settings:
    """workspace.toml: what every step must agree on. Changing one rebuilds what depends on it."""

    seed: int = 0
    clip: str = "sample"  # the CLIP model of the default features: "sample", NAME:PRETRAINED or a local folder
    protocol: str = "v1"
    split_by: str = "channel"  # "channel" | "recording" | a split's name (all clips in that one split)
    split_fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)  # train, dev, test
    geometry: ClipGeometry = field(default_factory=ClipGeometry)

    def __post_init__(self) -> None:
        if self.split_by not in ("channel", "recording", "train", "dev", "test"):
            raise UsageError(f"split_by is {self.split_by!r}", fix="channel, recording, train, dev or test")
        whole = len(self.split_fractions) == 3 and abs(sum(self.split_fractions) - 1) <= 1e-9  # false for NaN, too
        if not whole or min(self.split_fractions) < 0:
            raise UsageError(f"split_fractions are {self.split_fractions}", fix="three numbers >= 0 that sum to 1")

    @classmethod
    def from_toml(cls, text: str) -> Settings:
        """Read workspace.toml. Raises UsageError that names the setting which is wrong, or known to a newer tool."""
        try:
            value = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"workspace.toml is not TOML: {error}", fix="mend that line") from None
        _check_settings(value, dataclasses.asdict(cls()), "")
        if "geometry" in value:
            value["geometry"] = ClipGeometry(**value["geometry"])
        if "split_fractions" in value:
            value["split_fractions"] = tuple(value["split_fractions"])
        return cls(**value)

    def to_toml(self) -> str:
        import tomli_w

        value = dataclasses.asdict(self)
        value["split_fractions"] = list(self.split_fractions)
        return tomli_w.dumps(value)


def read_recording(path: Path) -> Recording:
    """A recording.json. Raises Damaged if it is none, or was written by a newer version."""
    fix = f"remove {path.parent} and import that recording again"
    value = read_json(path, fix=fix)
    try:
        return Recording.from_json(value)
    except (TypeError, ValueError) as error:
        raise damaged(path, error, fix) from None


def _check_settings(value: dict[str, Any], defaults: dict[str, Any], table: str) -> None:
    """Raise UsageError for a setting that is not known or has another type than its default."""
    unknown, known = (", ".join(table + n for n in names) for names in (sorted(set(value) - set(defaults)), defaults))
    if unknown:
        raise UsageError(
            f"workspace.toml has unknown settings {unknown}",
            fix=f"videochat {__version__} knows {known}; a newer one may know more",
        )
    for name, found in value.items():
        default = defaults[name]
        if isinstance(default, dict):
            if not isinstance(found, dict):
                raise UsageError(f"{table}{name} in workspace.toml is {found!r}, not a table", fix=f"write [{name}]")
            _check_settings(found, default, f"{name}.")
        elif isinstance(default, tuple):
            numbers = isinstance(found, list) and all(isinstance(x, int | float) and x == x for x in found)
            if not numbers:
                raise UsageError(f"{table}{name} in workspace.toml is {found!r}", fix="write such as [0.8, 0.1, 0.1]")
        elif type(found) is not type(default):
            kind = {int: "a whole number", str: "a text in quotes"}[type(default)]
            raise UsageError(f"{table}{name} in workspace.toml is {found!r}, not {kind}", fix=f"such as {default!r}")


class Workspace:
    """Paths, settings, lock, ledger and pseudonym key of one workspace folder."""

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root = root
        self.settings = settings
        self.ledger = Ledger(root / "ledger.jsonl")

    @classmethod
    def open(cls, root: Path | str | None = None, *, create: bool = False, **settings: Any) -> Workspace:
        """Open `root`; with `create`, make it (with the given settings) if it is not there.

        Raises MissingInput if there is no workspace, Mismatch if a given setting differs from the recorded one.
        """
        root = Path(root or os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_FOLDER)
        config = root / "workspace.toml"
        if root.exists() and not root.is_dir():
            raise UsageError(f"{root} is a file, not a workspace folder", fix="pass --data DIR")
        if config.exists() and not config.is_file():
            raise UsageError(f"{config} is not a file", fix="remove it, or pass another --data")
        if not config.is_file():
            if not create:
                raise MissingInput(
                    f"no workspace at {root}",
                    fix="make one with `videochat sample` or `videochat import`, or pass --data",
                )
            root.mkdir(parents=True, exist_ok=True)
            write_text(config, Settings(**settings).to_toml())
        try:
            recorded = Settings.from_toml(config.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise UsageError(f"{config} is not UTF-8 text: {error.reason}", fix="write it anew") from None
        for name, wanted in settings.items():
            if getattr(recorded, name) != wanted:
                raise Mismatch(
                    f"{name} is {getattr(recorded, name)!r} in {config}, not {wanted!r}",
                    fix="use another --data, or edit workspace.toml and run the steps again",
                )
        return cls(root, recorded)

    def having(self, **settings: Any) -> Workspace:
        """The workspace with other settings, which are not recorded."""
        return type(self)(self.root, dataclasses.replace(self.settings, **settings))

    def change(self, **settings: Any) -> Workspace:
        """The workspace with some settings rewritten; what depends on them is rebuilt by the next run of its step."""
        changed = self.having(**settings)
        if changed.settings != self.settings:
            write_text(self.root / "workspace.toml", changed.settings.to_toml())
        return changed

    # -- paths

    def raw_dir(self, recording_id: str) -> Path:
        return self.root / "raw" / recording_id

    def comments_path(self, recording_id: str) -> Path:
        return self.root / "comments" / f"{recording_id}.parquet"

    def frames_path(self, recording_id: str) -> Path:
        return self.root / "frames" / f"{recording_id}.parquet"

    def texts_path(self, recording_id: str) -> Path:
        return self.root / "texts" / f"{recording_id}.parquet"

    def transcripts_path(self, recording_id: str) -> Path:
        return self.root / "transcripts" / f"{recording_id}.parquet"

    @property
    def shards_dir(self) -> Path:
        return self.root / "shards"

    def candidates_dir(self, protocol: str) -> Path:
        return self.root / "candidates" / protocol

    def checkpoint_dir(self, model: str) -> Path:
        return self.root / "checkpoints" / model

    @property
    def runs_dir(self) -> Path:
        return self.root / "runs"

    # -- recordings

    def recordings(self) -> list[Recording]:
        """All recordings, ordered by id. A folder without recording.json is an unfinished import and is left out."""
        return [read_recording(path) for path in sorted((self.root / "raw").glob("*/recording.json"))]

    def add_recording(self, recording: Recording) -> None:
        """Write recording.json; call it last, when every file it names is in place."""
        write_json(self.raw_dir(recording.recording_id) / "recording.json", recording.to_json())

    # -- lock and key

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the workspace for one writing command, and clear away what killed ones have left unfinished.

        Raises Locked at once if another holds it.

        The kernel drops the lock when its process ends, however it ends.
        """
        with (self.root / ".lock").open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Locked(f"another command works in {self.root}", fix="wait until it ends") from None
            sweep(self.root)
            yield

    def pseudonym_key(self) -> bytes:
        """The workspace's secret key for pseudonyms, made on first use, in a file with mode 0600."""
        self.require_living_key()
        path = self.root / "pseudonym.key"
        if not path.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            temporary = self.root / f".pseudonym.key.tmp-{unfinished()}"
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(secrets.token_bytes(KEY_BYTES))
                os.fsync(handle.fileno())
            try:
                os.link(temporary, path)  # never replaces a key that another process has just made
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        key = path.read_bytes()
        if len(key) != KEY_BYTES:
            raise Mismatch(f"{path} holds {len(key)} bytes, not {KEY_BYTES}", fix="restore the key from a backup")
        return key

    def require_living_key(self) -> None:
        """Raises Mismatch if the pseudonym key was destroyed: a new one would count one person as two."""
        mark = self.root / KEY_DESTROYED
        if mark.is_file():
            raise Mismatch(
                f"the pseudonym key of {self.root} was destroyed on {read_json(mark)['at'][:10]}: "
                "its data set is final and takes in no more chat",
                fix="use another workspace for new recordings (--data)",
            )

    def pseudonym_key_digest(self) -> str:
        """Tells one key from another without giving it away; part of the stamp of everything pseudonymised."""
        self.pseudonym_key()
        return digest_file(self.root / "pseudonym.key")[:12]
