"""What a hostile hand does to a workspace: each time one line that says what, why and what to do, never a traceback."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from videochat.cli import data as data_commands
from videochat.cli import main
from videochat.errors import Damaged, UsageError
from videochat.files import unfinished
from videochat.sources.items import ImportItem
from videochat.workspace import Settings, Workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one simulated recording, up to its shards (all of them test)."""
    root = tmp_path_factory.mktemp("made") / "w"
    for line in (
        "sample --recordings 1 --minutes 1 --workers 1",
        "clean --workers 1",
        "build-features --device cpu --workers 1",
        "build --split-by test",
    ):
        with pytest.raises(SystemExit) as done:
            main([*line.split(), "--data", str(root)])
        assert done.value.code == 0, line
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "w"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """(exit code, stdout, stderr) of `videochat ARGUMENTS`, run in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert isinstance(done.value.code, int)
        return done.value.code, out, err

    return call


Run = Callable[..., tuple[int, str, str]]


def only(root: Path, pattern: str) -> Path:
    (found,) = root.glob(pattern)
    return found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


# -- the workspace's own files


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
    path = only(root, "raw/*/recording.json")
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


# -- what the steps made


def test_damaged_comments_are_a_row_for_features_and_an_error_for_build(root: Path, run: Run) -> None:
    path = only(root, "comments/*.parquet")
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
    path = only(root, f"{folder}/*.parquet")
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
    path = only(root, "shards/test/*.parquet")
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


# -- the command line


def test_usage_errors_have_the_shape_of_all_others(run: Run) -> None:
    code, _, err = run("bench", "--device", "gpu")
    assert code == 2
    assert err == (
        "error: invalid value for '--device': 'gpu' is not one of 'cpu', 'cuda', 'auto'\n"
        "fix: see `videochat bench --help`\n"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "error: the disk is full"),
        (OSError(errno.EFBIG, "File too large"), "error: the disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "error: the disk is full"),
        (OSError(errno.EROFS, "Read-only file system", "w/x"), "error: w/x: Read-only file system"),
        (MemoryError(), "error: the memory is full"),
        (KeyError("x"), "error: unexpected KeyError in test_bad_input.py"),
    ],
)
def test_what_no_command_foresees_is_one_line_too(
    error: Exception, said: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(data_commands, "_open_or_create", fail)
    monkeypatch.delenv("VIDEOCHAT_DEBUG", raising=False)
    code, _, err = run("import", "--chat", __file__, "--category", "X")
    assert code == 1
    assert said in err
    assert err.count("\n") == 2
    assert "\nfix: " in err


def test_a_damaged_file_is_said_on_one_line(tmp_path: Path) -> None:
    from videochat.files import read_json

    path = tmp_path / "x.json"
    path.write_text("{\n\n")
    with pytest.raises(Damaged) as error:
        read_json(path)
    assert "\n" not in str(error.value)


# -- names, devices and dry runs


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train --model nope", "unknown model 'nope'"),
        ("train --model random", "random is not a trained model"),
        ("train --set epochs=x", "epochs is 'x', not a whole number"),
        ("train --set epochs=1.5", "epochs is 1.5, not a whole number"),
        ("train --set epochs=1e400", "epochs is inf, not a whole number"),
        ("train --set mlm_batch_size=0", "batch_size is 0"),
        ("train --set epoch=1", "unknown training option 'epoch'"),
        ("train --set learning_rate=nan", "learning_rate is nan"),
        ("train --set max_minutes=nan", "max_minutes is nan"),
        ("train --set num_heads=0", "num_heads is 0"),
        ("bench --model nope", "unknown model 'nope'"),
        ("candidates --protocol v9", "unknown protocol 'v9'"),
        ("candidates --k 1001", "K = 1001 is not between"),
        ("candidates --limit 3", "made whole or not at all"),
        ("build-features --clip nope", "'nope' is not a CLIP model"),
        ("build-features --clip ViT-B-32:nope", "no pretrained weights 'nope'"),
        ("build-features --retry fialed", "--retry 'fialed' is not understood"),
    ],
)
def test_a_wrong_name_or_number_is_said_before_any_work(
    root: Path, run: Run, line: str, said: str, dry: tuple[str, ...]
) -> None:
    if "--set" in line:
        dry = ()  # a dry run of training does not read its settings
    code, _, err = run(*line.split(), *dry, "--data", root)
    assert code == 2
    assert said in err
    assert err.count("\n") == 2
    assert not (root / "checkpoints").exists()


@pytest.mark.parametrize("command", ["train", "bench", "build-features"])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_cuda_where_there_is_none(root: Path, run: Run, command: str, dry: tuple[str, ...]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    code, _, err = run(command, "--device", "cuda", *dry, "--data", root)
    assert code == 2
    assert "no CUDA device" in err
    assert "--device cpu" in err


def test_weights_that_cannot_be_fetched_name_the_choices(
    root: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, _, err = run("build-features", "--clip", "ViT-B-32:openai", "--data", root)
    assert code == 1
    assert "CLIP ViT-B-32:openai could not be loaded" in err
    assert "the hub cannot be reached from here" in err
    assert "fix: choose --clip sample, a local open_clip folder, or import precomputed features" in err
    assert Workspace.open(root).settings.clip == "sample"


def test_features_of_a_workspace_that_is_not_there(root: Path, run: Run) -> None:
    code, _, err = run("build-features", "--reuse", root / "nowhere", "--data", root)
    assert code == 1
    assert "nowhere" in err


def test_a_dry_run_of_bench_makes_no_candidate_sets(root: Path, run: Run) -> None:
    code, out, _ = run("bench", "--dry-run", "--json", "--data", root)
    assert code == 0
    assert json.loads(out)["models"] == "sfat"
    assert not (root / "candidates").exists()


def test_the_same_model_twice_is_one_entrant(root: Path, run: Run) -> None:
    code, out, _ = run("bench", "--dry-run", "--model", "random", "--model", "random", "--json", "--data", root)
    assert code == 0
    assert json.loads(out)["models"] == "random"


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


# -- what is imported


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    path = tmp_path / "chat.csv"
    path.write_text("time,author,text\n1,a,hello\n-5,b,early\nNaN,c,never\n1e400,d,never\n5,e,bye\n")
    return path


def test_what_is_odd_about_a_chat_is_shown(tmp_path: Path, chat: Path, run: Run) -> None:
    code, out, _ = run("import", "--chat", chat, "--category", "X", "--workers", 1, "--data", tmp_path / "w")
    assert code == 0
    assert "3 messages" in out
    assert "2 malformed-message" in out
    assert "1 negative-offset" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--offset-ms 99999999999999", "offset_ms is 99999999999999"),
        ("--offset-ms -99999999999", "offset_ms is -99999999999"),
        ("--duration-ms 99999999999999", "duration_ms is 99999999999999"),
        ("--language klingon", "language is 'klingon'"),
    ],
)
def test_numbers_that_fit_no_clock(tmp_path: Path, chat: Path, run: Run, options: str, said: str) -> None:
    code, _, err = run("import", "--chat", chat, "--category", "X", *options.split(), "--data", tmp_path / "w")
    assert code == 2
    assert said in err


def test_an_info_file_that_says_two_months(tmp_path: Path, chat: Path, run: Run) -> None:
    info = tmp_path / "info.json"
    info.write_text(json.dumps({"id": "v1", "extractor_key": "TwitchVod", "duration": 5e6}))
    options = ("--info", info, "--workers", 1, "--data", tmp_path / "w")
    code, out, _ = run("import", "--chat", chat, "--category", "X", *options)
    assert code == 3
    assert "impossible-duration" in out


def test_the_help_of_import_names_every_column_of_a_list(run: Run) -> None:
    code, out, _ = run("import", "--help")
    assert code == 0
    assert [field.name for field in dataclasses.fields(ImportItem) if field.name not in out] == []


def test_an_impossible_sample_makes_no_workspace(tmp_path: Path, run: Run) -> None:
    code, _, err = run("sample", "--minutes", "nan", "--data", tmp_path / "w")
    assert code == 2
    assert "nan minutes" in err
    assert not (tmp_path / "w").exists()


def test_an_option_without_its_value_names_the_command(run: Run) -> None:
    code, _, err = run("import", "--category")
    assert code == 2
    assert "fix: see `videochat import --help`" in err


def test_a_chat_without_messages_is_not_called_a_live_capture(tmp_path: Path, chat: Path, run: Run) -> None:
    chat.write_text("time,author,text\n")
    code, out, err = run("import", "--chat", chat, "--category", "X", "--workers", 1, "--data", tmp_path / "w")
    assert code == 3
    assert "holds no message (fetch the chat again" in out
    assert "\nfix: mend what failed" in err


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_chat(tmp_path: Path, device: str, run: Run) -> None:
    if not Path(device).exists():
        pytest.skip(f"{device} is not here")
    code, out, _ = run("import", "--chat", device, "--category", "X", "--workers", 1, "--data", tmp_path / "w")
    assert code == 3
    assert "not-a-file" in out


def picture(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 48), "red").save(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.png", picture, "is a picture, not a video"),
        ("a.jpg", picture, "is a picture, not a video"),
        ("a.mp4", b"hello world", "cannot be opened as a video"),
        ("b.txt", b"hello world\n" * 400, "is text, not a video"),
        ("a.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{made}\n", "is a playlist, not a video"),
        ("a.txt", b"ffconcat version 1.0\nfile {name}\n", "is a playlist, not a video"),
    ],
)
def test_what_is_no_video_is_said_at_import_and_refused_by_features(
    tmp_path: Path, chat: Path, made: Path, run: Run, name: str, content: object, said: str
) -> None:
    path = tmp_path / name
    video = only(made, "raw/*/video.mp4")
    shutil.copy(video, tmp_path / "real.mp4")
    if isinstance(content, bytes):
        path.write_bytes(content.replace(b"{made}", bytes(video)).replace(b"{name}", b"real.mp4"))
    else:
        picture(path)
    options = ("--workers", 1, "--data", tmp_path / "w")
    code, _, err = run("import", "--chat", chat, "--video", path, "--category", "X", *options)
    assert code == 0
    assert said in err
    assert "build-features will refuse it" in err
    assert run("clean", *options)[0] == 0
    code, out, err = run("build-features", "--clip", "sample", "--device", "cpu", *options)
    assert code == 3
    assert f"unreadable-video: video.{name[2:]} " in out
    assert "videochat build-features --retry failed" in err


@pytest.mark.parametrize("target", ["chat.jsonl.gz", "video.mp4", "recording.json"])
def test_importing_again_mends_damaged_raw_files(tmp_path: Path, chat: Path, made: Path, run: Run, target: str) -> None:
    video = shutil.copy(only(made, "raw/*/video.mp4"), tmp_path / "v.mp4")
    root = tmp_path / "w"
    line = ("import", "--chat", chat, "--video", video, "--category", "X", "--workers", 1, "--data", root)
    assert run(*line)[0] == 0
    path = only(root, f"raw/*/{target}")
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:-10])
    code, out, err = run(*line)
    if target == "recording.json":
        assert (code, f"remove {path.parent}" in err) == (1, True)
        shutil.rmtree(path.parent)
        code, out, err = run(*line)
    assert (code, "1 done" in out) == (0, True)
    assert path.read_bytes() == whole
    assert "1 already current" in run(*line)[1]


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


# -- what killed commands leave


def test_the_lock_clears_what_killed_processes_left_and_nothing_of_living_ones(root: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()
    dead, living = f"{ended.pid:06x}ff", unfinished()
    (recording,) = (root / "raw").iterdir()
    files = [
        root / f".splits.json.tmp-{dead}",
        recording / f".video.mp4.tmp-{dead}",
        root / "comments" / f".x.parquet.tmp-{dead}",
        root / f".shards.old-{dead}" / "dataset.json",
        root / "runs" / f".v1-sfat.{dead}" / "run.json",
    ]
    kept = [root / f".splits.json.tmp-{living}", root / ".hidden", root / "runs" / ".ipynb_checkpoints" / "x"]
    for path in (*files, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with Workspace.open(root).lock():
        assert not [
            path for path in files if path.exists() or (path.parent.name.startswith(".") and path.parent.exists())
        ]
        assert all(path.exists() for path in kept)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_with_their_killed_command(tmp_path: Path) -> None:
    """A worker that outlives its command would wait for work for ever."""
    (tmp_path / "waiting.py").write_text(
        "import os, time\n"
        "from dataclasses import dataclass\n"
        "from pathlib import Path\n"
        "@dataclass\n"
        "class Item:\n"
        "    recording_id: str\n"
        "def wait(item):\n"
        "    (Path(__file__).parent / f'{item.recording_id}.pid').write_text(str(os.getpid()))\n"
        "    time.sleep(60)\n"
    )
    (tmp_path / "command.py").write_text(
        "import sys\n"
        "from videochat.engines.local import run_step\n"
        "from videochat.workspace import Workspace\n"
        "from waiting import Item, wait\n"
        "if __name__ == '__main__':\n"
        "    workspace = Workspace.open(sys.argv[1], create=True)\n"
        "    run_step(workspace, 'clean', [Item('a'), Item('b')], wait, num_workers=2)\n"
    )
    command = subprocess.Popen(
        [sys.executable, str(tmp_path / "command.py"), str(tmp_path / "w")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        files = [tmp_path / "a.pid", tmp_path / "b.pid"]
        until(lambda: all(path.exists() and path.read_text() for path in files))
    finally:
        os.kill(command.pid, signal.SIGKILL)
        command.wait()
    workers = [int(path.read_text()) for path in files]
    until(lambda: not any(alive(worker) for worker in workers))


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
