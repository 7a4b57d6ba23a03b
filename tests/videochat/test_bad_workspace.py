"""Damaged files of a workspace: each is one line that says what, why and what to do, and the said line heals it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from videochat.errors import UsageError
from videochat.workspace import Settings, Workspace

Run = Callable[..., tuple[int, str, str]]


def only(root: Path, pattern: str) -> Path:
    (found,) = root.glob(pattern)
    return found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not toml [[[", "is not TOML"),
        ('seed = "x"', "seed in workspace.toml is 'x', not a whole number"),
        ("seed = 1.5", "seed in workspace.toml is 1.5"),
        ("seed = true", "seed in workspace.toml is True"),
        ("clip = 5", "clip in workspace.toml is 5, not a text"),
        ('split_fractions = "abc"', "split_fractions in workspace.toml"),
        ('split_fractions = ["a", "b", "c"]', "split_fractions in workspace.toml"),
        ("split_fractions = [nan, 0.5, 0.5]", "split_fractions"),
        ("geometry = 5", "geometry in workspace.toml is 5, not a table"),
        ("[geometry]\nfoo = 1", "unknown settings geometry.foo"),
        ('[geometry]\nclip_ms = "x"', "geometry.clip_ms in workspace.toml"),
        ("[geometry]\nclip_ms = 0", "impossible clip geometry"),
        ("of_a_newer_version = 1", "unknown settings of_a_newer_version"),
    ],
)
def test_a_wrong_setting_is_named(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        Settings.from_toml(text)
    assert said in error.value.what
    assert error.value.fix


def test_a_workspace_toml_that_is_no_text_or_a_folder(tmp_path: Path, run: Run) -> None:
    Workspace.open(tmp_path, create=True)
    config = tmp_path / "workspace.toml"
    config.write_bytes(b"\xff\xfe")
    code, _, err = run("status", "--data", tmp_path)
    assert code == 2
    assert "is not UTF-8 text" in err
    config.unlink()
    config.mkdir()
    code, _, err = run("status", "--data", tmp_path)
    assert code == 2
    assert "workspace.toml is not a file" in err


def test_split_fractions_that_are_no_numbers_are_refused(root: Path, run: Run) -> None:
    code, _, err = run("build", "--fractions", "nan,1,0", "--data", root)
    assert code == 2
    assert "split_fractions" in err


@pytest.mark.parametrize("bad", [b"", b"{", b"[1, 2]", b'{"a": 1}', b"\xff\xfe\x00"])
def test_a_damaged_recording_json_names_its_folder(root: Path, run: Run, bad: bytes) -> None:
    (path,) = root.glob("raw/*/recording.json")
    path.write_bytes(bad)
    code, _, err = run("status", "--data", root)
    assert code == 1
    assert f"error: {path} is damaged" in err
    assert f"fix: remove {path.parent} and import that recording again" in err
    shutil.rmtree(path.parent)
    assert run("status", "--data", root)[0] == 0, "the fix helps"


def test_lines_of_the_ledger_that_are_none_are_passed_over(root: Path) -> None:
    ledger = Workspace.open(root).ledger
    before = list(ledger)
    with ledger.path.open("ab") as handle:
        handle.write(b'\xff\xfe\x00\n[1]\n{"a": 1}\n5\nnull\n{"step": "clean", "rec\n')
        newer = {"step": "clean", "recording_id": "r", "status": "ok", "of_a_newer_version": 1}
        handle.write(json.dumps(newer).encode() + b"\n")
    after = list(ledger)
    assert after[: len(before)] == before
    assert [attempt.recording_id for attempt in after[len(before) :]] == ["r"]


def test_damaged_comments_are_a_row_for_features_and_an_error_for_build(root: Path, run: Run) -> None:
    (path,) = root.glob("comments/*.parquet")
    cut(path)
    code, out, _ = run("build-features", "--device", "cpu", "--workers", 1, "--data", root)
    assert code == 3
    assert "damaged-file" in out
    code, _, err = run("build", "--data", root)
    assert code == 1
    assert f"error: {path} is damaged" in err
    assert "videochat clean" in err
    assert run("clean", "--workers", 1, "--data", root)[0] == 0
    assert run("build", "--data", root)[0] == 0, "the fix helps"


@pytest.mark.parametrize("folder", ["frames", "texts"])
def test_damaged_features_name_the_file_and_are_made_again(root: Path, run: Run, folder: str) -> None:
    (path,) = root.glob(f"{folder}/*.parquet")
    whole = path.read_bytes()
    cut(path)
    code, _, err = run("build", "--data", root)
    assert code == 1
    assert f"error: {path} is damaged" in err
    assert "videochat build-features" in err
    assert run("build-features", "--device", "cpu", "--workers", 1, "--data", root)[0] == 0
    assert path.read_bytes() == whole
    assert run("build", "--data", root)[0] == 0


@pytest.mark.parametrize("bad", [b"", b"[1]", b'{"a": 1}', b'{"files": [{}]}'])
def test_a_damaged_dataset_json_is_an_error_that_build_heals(root: Path, run: Run, bad: bytes) -> None:
    path = root / "shards" / "dataset.json"
    whole = path.read_bytes()
    path.write_bytes(bad)
    for command in ("status", "validate", "candidates"):
        code, _, err = run(command, "--data", root)
        assert code == 1
        assert f"error: {path} is damaged" in err
        assert "fix: run `videochat build` again" in err
    assert run("build", "--data", root)[0] == 0
    assert path.read_bytes() == whole


def test_a_changed_shard_is_found_and_built_again(root: Path, run: Run) -> None:
    (path,) = root.glob("shards/test/*.parquet")
    whole = path.read_bytes()
    path.write_bytes(b"PAR1" + bytes(len(whole) - 4))
    code, out, _ = run("validate", "--data", root)
    assert code == 1
    assert "SHA-256 differs" in out
    assert "FAIL  every row can be read" in out
    assert run("build", "--data", root)[0] == 0
    assert path.read_bytes() == whole


def test_a_dataset_json_may_not_point_outside(root: Path, run: Run) -> None:
    path = root / "shards" / "dataset.json"
    manifest = json.loads(path.read_text())
    manifest["files"][0]["path"] = "../workspace.toml"
    path.write_text(json.dumps(manifest))
    code, _, err = run("validate", root / "shards", "--data", root)
    assert code == 1
    assert "outside of its folder" in err


def test_a_damaged_manifest_of_frozen_sets_is_never_replaced_in_silence(root: Path, run: Run) -> None:
    assert run("candidates", "--k", 2, "--data", root)[0] == 0
    path = root / "candidates" / "v1" / "manifest.json"
    cut(path)
    for command in ("candidates", "bench"):
        code, _, err = run(command, "--data", root)
        assert code == 1
        assert f"error: {path} is damaged" in err
        assert f"fix: remove {path.parent} and run `videochat candidates --protocol v1`" in err
    code, out, _ = run("validate", "--data", root)
    assert code == 1
    assert "FAIL  v1: digests" in out


def test_validate_of_what_is_no_dataset(tmp_path: Path, run: Run) -> None:
    assert run("validate", tmp_path)[::2] == (
        1,
        f"error: no shards in {tmp_path}\nfix: make them with `videochat build`\n",
    )
    code, _, err = run("validate", tmp_path / "nowhere")
    assert code == 1
    assert f"error: there is no folder {tmp_path / 'nowhere'}" in err


def test_sample_goes_on_in_a_workspace_with_other_choices(root: Path, run: Run) -> None:
    whole = {path.name: path.read_bytes() for path in only(root, "raw/*").iterdir()}
    assert run("build", "--split-by", "train", "--fractions", "0.5,0.25,0.25", "--data", root)[0] == 0
    line = ("sample", "--recordings", 1, "--minutes", 1, "--workers", 1, "--data", root)
    assert "1 already current" in run(*line)[1]
    for name in ("chat.jsonl.gz", "recording.json", "truth.json"):
        cut(only(root, f"raw/*/{name}"))
        assert "1 done" in run(*line)[1]
    assert {path.name: path.read_bytes() for path in only(root, "raw/*").iterdir()} == whole
    code, _, err = run(*line, "--seed", 5)
    assert code == 1
    assert "seed is 0" in err


def test_an_emptied_chat_is_a_row_with_its_reason(root: Path, run: Run) -> None:
    only(root, "raw/*/chat.jsonl.gz").write_bytes(b"")
    code, out, _ = run("clean", "--workers", 1, "--data", root)
    assert code == 3
    assert "bad-chat: chat.jsonl.gz is empty" in out


def test_a_build_that_fails_records_no_choice(root: Path, run: Run) -> None:
    before = (root / "workspace.toml").read_bytes()
    code, _, err = run("build", "--split-by", "recording", "--data", root)
    assert code == 2
    assert "--split-by test" in err
    assert (root / "workspace.toml").read_bytes() == before
