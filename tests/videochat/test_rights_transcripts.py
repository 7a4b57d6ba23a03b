"""What was said by name is forgotten, too: in transcripts/, in the shards, and when it is transcribed again."""

from __future__ import annotations

from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq

from videochat.build import build
from videochat.dataset import Dataset
from videochat.files import write_parquet
from videochat.rights import purge
from videochat.rights.forget import forget
from videochat.rights.search import Request
from videochat.schema import TRANSCRIPTS
from videochat.validate import validate_shards
from videochat.workspace import Workspace


def speak(workspace: Workspace, planted: ModuleType) -> None:
    for recording in workspace.recordings():
        columns = [
            [1_000, 4_000, 31_000],
            [3_000, 6_000, 33_000],
            ["hello chat", f"thanks for the raid {planted.LOGIN}", "let us go on"],
        ]
        path = workspace.transcripts_path(recording.recording_id)
        write_parquet(pa.table(columns, schema=TRANSCRIPTS), path, {"stamp": "t", "by": {"format": "vtt"}})


def said(workspace: Workspace) -> set[str]:
    return {segment.text for clip in Dataset.open(workspace.root).clips() for segment in clip.transcript}


def test_a_forgotten_person_is_not_named_in_transcripts_any_more(planted_copy: Workspace, planted: ModuleType) -> None:
    speak(planted_copy, planted)
    build(planted_copy)
    assert f"thanks for the raid {planted.LOGIN}" in said(planted_copy)
    result = forget(planted_copy, Request(users=(planted.LOGIN,)))
    assert result["segments"] == 6
    assert result["dataset"]["segments"] == 6
    assert not planted.traces(planted_copy.root, planted.LOGIN)
    assert said(planted_copy) == {"hello chat", "let us go on"}
    assert all(finding.ok for finding in validate_shards(planted_copy.root))
    card = (planted_copy.shards_dir / "README.md").read_text()
    assert "files that were imported (vtt)" in card
    forgotten = Dataset.open(planted_copy.root).digest
    assert build(planted_copy)["digest"] == forgotten, "a build from what is left gives the same rows"


def test_a_forgotten_recording_takes_its_transcript_along(planted_copy: Workspace, planted: ModuleType) -> None:
    speak(planted_copy, planted)
    name = planted_copy.recordings()[0].recording_id
    build(planted_copy)
    forget(planted_copy, Request(recordings=(name,)))
    assert not planted_copy.transcripts_path(name).exists()
    assert len(list((planted_copy.root / "transcripts").iterdir())) == 5
    for path in (planted_copy.root / "transcripts").iterdir():
        path.unlink()
    build(planted_copy)
    assert "transcript" not in Dataset.open(planted_copy.root).provides


def test_purge_reaches_the_transcripts() -> None:
    assert "transcripts" in purge.DATA


def test_taking_out_speech_leaves_the_rest_of_the_file(planted_copy: Workspace, planted: ModuleType) -> None:
    speak(planted_copy, planted)
    forget(planted_copy, Request(users=(planted.LOGIN,)))
    table = pq.read_table(planted_copy.transcripts_path(planted_copy.recordings()[0].recording_id))
    assert table.schema.equals(TRANSCRIPTS)
    assert table["start_ms"].to_pylist() == [1_000, 31_000]
