"""`videochat generate --video --chat --at`: one moment of local files is what the shards hold of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from videochat.cli import main
from videochat.commenter import view
from videochat.dataset import Dataset
from videochat.moment import view_at
from videochat.workspace import Workspace


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert isinstance(done.value.code, int)
    return done.value.code


@pytest.mark.slow
def test_a_moment_of_local_files_is_what_the_shards_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("sample", "--recordings", 2, "--minutes", 2) == 0
    assert run("clean", "--workers", 1) == 0
    assert run("build-features", "--device", "cpu", "--workers", 1) == 0
    assert run("build", "--split-by", "recording", "--fractions", "0.5,0,0.5") == 0
    workspace = Workspace.open("videochat-data")
    dataset = Dataset.open(workspace.root)
    clip = list(dataset.clips("test"))[1]
    raw = workspace.raw_dir(clip.recording_id)
    files = {"chat": raw / "chat.jsonl.gz", "video": raw / "video.mp4"}
    found = view_at(workspace, dataset, at_ms=clip.context_end_ms, category=clip.category, device="cpu", **files)
    expected = view(clip)
    assert [(c.offset_ms, c.text, c.emotes) for c in found.context] == [
        (c.offset_ms, c.text, c.emotes) for c in expected.context
    ]
    np.testing.assert_array_equal(found.frame_ms, expected.frame_ms)
    np.testing.assert_allclose(found.frames, expected.frames, atol=2e-3)
    np.testing.assert_allclose(found.context_clip, expected.context_clip, atol=2e-3)
    later = view_at(workspace, dataset, at_ms=47_300, category=clip.category, device="cpu", **files)
    assert later.frame_ms.tolist() == list(range(18_000, 48_000, 1_000))
    assert all(27_300 <= comment.offset_ms < 47_300 for comment in later.context)

    quick = ("width=32", "epochs=1", "mlm_epochs=0", "vocab_size=400")
    assert run("train", "--model", "sfat", "--device", "cpu", *(w for s in quick for w in ("--set", s))) == 0
    before = sorted(path.name for path in workspace.root.rglob("*") if path.name != "ledger.jsonl")
    moment = ("generate", "--chat", files["chat"], "--video", files["video"], "--device", "cpu")
    capsys.readouterr()
    assert run(*moment, "--at", "0:47.3", "--category", clip.category, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["now_ms"] == 47_300
    assert row["comment"]
    assert sorted(path.name for path in workspace.root.rglob("*") if path.name != "ledger.jsonl") == before
    assert len(workspace.recordings()) == 2, "the files stay out of the workspace"

    for arguments, code, words in (
        (("--at", "9:00", "--category", "Art"), 2, "outside of the recording"),
        (("--at", "noon", "--category", "Art"), 2, "is not a time"),
        (("--at", "0:30"), 2, "--category is missing"),
        (("--category", "Art"), 2, "needs --chat and --at"),
        (("--at", "0:30", "--category", "Art", "--split", "test"), 2, "takes the place of"),
    ):
        assert run(*moment, *arguments) == code
        assert words in capsys.readouterr().err
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    wrong = ("generate", "--chat", files["chat"], "--video", "broken.mp4", "--device", "cpu")
    assert run(*wrong, "--at", "0:30", "--category", "Art") == 3
    assert "failed" in capsys.readouterr().err
    assert run("train", "--model", "sfat-oracle", "--device", "cpu", *(w for s in quick for w in ("--set", s))) == 0
    assert run(*moment, "--at", "0:30", "--category", "Art", "--model", "sfat-oracle") == 2
    assert "events of simulated clips" in capsys.readouterr().err
    blind = ("generate", "--chat", files["chat"], "--at", "0:30", "--category", "Art", "--device", "cpu")
    assert run(*blind) == 1
    assert "needs frames" in (err := capsys.readouterr().err)
    assert "pass --video" in err
    capsys.readouterr()
    assert run(*moment, "--at", "0:30", "--category", "Art", "--offset-ms", 3_600_000) == 0
    assert "no kept comment in the 20 s before 0:30" in capsys.readouterr().err
