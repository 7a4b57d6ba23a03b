"""Speech recognition and ready transcripts: audio in a stream, the recording's clock, bad files as rows."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videochat.cli import main
from videochat.clock import ClipGeometry
from videochat.errors import BadRecording, MissingInput, UsageError
from videochat.files import digest_file, parquet_metadata
from videochat.rights.tombstones import Tombstones
from videochat.schema import TRANSCRIPTS, Recording
from videochat.speech.audio import RATE, AudioReport, Window, windows
from videochat.speech.recogniser import load_recogniser
from videochat.speech.transcribe import import_transcripts, plan_transcribe, transcribe, window_ends
from videochat.speech.transcript_files import read_transcript
from videochat.workspace import Workspace

SECONDS = 55


def make_video(
    path: Path,
    sound: Callable[[np.ndarray], np.ndarray] | None,
    *,
    seconds: float = SECONDS,
    late_s: float = 0.0,
    rate: int = 44_100,
) -> None:
    """Small H.264 video, AAC stereo. sound: seconds (n,) -> samples in [-1, 1]; late_s: where the sound begins."""
    import av

    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=4)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        audio = out.add_stream("aac", rate=rate, layout="stereo") if sound else None
        for n in range(int(seconds * 4)):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), n % 200, np.uint8), format="rgb24")
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if sound is not None and audio is not None:
            for first in range(int(late_s * rate), int(seconds * rate), 1024):
                values = sound((first + np.arange(1024)) / rate).astype(np.float32)
                frame = av.AudioFrame.from_ndarray(np.stack([values, values]), format="fltp", layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
                out.mux(audio.encode(frame))
            out.mux(audio.encode())


def tone(begin: float, end: float, hertz: float = 440.0) -> Callable[[np.ndarray], np.ndarray]:
    return lambda t: 0.5 * np.sin(2 * math.pi * hertz * t) * ((t >= begin) & (t < end))


def noise(t: np.ndarray) -> np.ndarray:
    return np.random.default_rng(int(t[0] * 1000)).uniform(-0.3, 0.3, len(t))


def add(workspace: Workspace, name: str, video: Path | None, *, seconds: float = SECONDS) -> Recording:
    folder = workspace.raw_dir(name)
    folder.mkdir(parents=True)
    if video is not None:
        shutil.copy(video, folder / "video.mp4")
    item = Recording(
        recording_id=name,
        platform="twitch",
        platform_id=name.removeprefix("twitch-"),
        channel="someone",
        category="Art",
        duration_ms=int(seconds * 1000),
        num_messages=1,
        chat_digest=name,
        video=None if video is None else "video.mp4",
        video_digest=None if video is None else digest_file(video),
    )
    workspace.add_recording(item)
    return item


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(tmp_path / "w", create=True)


@pytest.fixture(scope="session")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "noisy.mp4"
    make_video(path, noise)
    return path


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper of a few thousand random weights, with the tokens and timestamps of the real one: what it writes is
    gibberish, how it comes about is not."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import (
        AddedToken,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperTokenizer,
    )

    folder = tmp_path_factory.mktemp("asr") / "whisper-of-noise"
    end = "<|endoftext|>"
    vocab = {letter: n for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = WhisperTokenizer(vocab=vocab, merges=[], unk_token=end, bos_token=end, eos_token=end)
    names = f"{end} <|startoftranscript|> <|en|> <|de|> <|translate|> <|transcribe|> <|nospeech|> <|notimestamps|>"
    tokenizer.add_tokens([AddedToken(n, special=True, normalized=False) for n in names.split()], special_tokens=True)
    tokenizer.add_tokens([AddedToken(f"<|{n * 0.02:.2f}|>", special=False, normalized=False) for n in range(1501)])
    number = tokenizer.convert_tokens_to_ids
    ends = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), number(end))
    torch.manual_seed(0)
    shape: dict[str, Any] = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "max_target_positions": 64}
    shape |= {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("attention_heads", "ffn_dim")}
    start = number("<|startoftranscript|>")
    model = WhisperForConditionalGeneration(
        WhisperConfig(vocab_size=len(tokenizer), **shape, **ends, decoder_start_token_id=start)
    )
    generation = model.generation_config
    generation.lang_to_id = {name: number(name) for name in ("<|en|>", "<|de|>")}
    generation.task_to_id = {name: number(f"<|{name}|>") for name in ("transcribe", "translate")}
    generation.is_multilingual, generation.no_timestamps_token_id = True, number("<|notimestamps|>")
    generation.max_length, generation.max_initial_timestamp_index, generation._from_model_config = 16, 50, False
    generation.begin_suppress_tokens = [number(end)]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def rows(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    table = pq.read_table(workspace.transcripts_path(name))
    assert table.schema.equals(TRANSCRIPTS)
    return list(table.to_pylist())


# -- audio


def loud_ms(path: Path, ends: list[int]) -> tuple[int, int]:
    """Where the sound of a file begins and ends, to 10 ms, from its windows put together again."""
    found = list(windows(path, ends))
    assert [w.start_ms for w in found] == [0, *ends[: len(found) - 1]]
    joined = np.concatenate([w.samples for w in found])
    assert joined.dtype == np.float32
    level = np.abs(joined[: len(joined) // 160 * 160].reshape(-1, 160)).max(1) > 0.1
    return int(np.flatnonzero(level)[0]) * 10, int(np.flatnonzero(level)[-1] + 1) * 10


def test_windows_hold_the_sound_at_its_time(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", tone(23.0, 41.5))
    begin, end = loud_ms(tmp_path / "v.mp4", [20_000, 50_000, 55_000])
    assert abs(begin - 23_000) <= 50 and abs(end - 41_500) <= 50


def test_sound_that_begins_late_is_not_moved(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", tone(12.0, 15.0), seconds=20, late_s=11.0)
    begin, end = loud_ms(tmp_path / "v.mp4", [20_000])
    assert abs(begin - 12_000) <= 60 and abs(end - 15_000) <= 60


def test_a_video_without_sound_and_one_whose_sound_is_broken(tmp_path: Path) -> None:
    make_video(tmp_path / "silent.mp4", None, seconds=2)
    with pytest.raises(BadRecording, match="no audio stream") as error:
        list(windows(tmp_path / "silent.mp4", [2_000]))
    assert error.value.error_class == "no-audio"
    (tmp_path / "no.mp4").write_bytes(b"this is no video at all" * 100)
    with pytest.raises(BadRecording) as error:
        list(windows(tmp_path / "no.mp4", [2_000]))
    assert error.value.error_class == "unreadable-video"


def test_only_one_window_is_held(tmp_path: Path) -> None:
    """The decoder is asked for no more than the window at hand needs."""
    make_video(tmp_path / "v.mp4", tone(0, 40), seconds=40)
    report = AudioReport()
    stream = windows(tmp_path / "v.mp4", [*range(5_000, 40_001, 5_000)], report)
    for number, window in enumerate(stream, start=1):
        assert len(window.samples) == 5 * RATE
        assert report.num_samples <= (5 * number + 1) * RATE


def test_windows_end_where_contexts_end() -> None:
    geometry = ClipGeometry()
    assert window_ends(95_000, geometry) == [20_000, 50_000, 80_000, 95_000]
    assert window_ends(20_000, geometry) == [20_000]
    assert window_ends(0, geometry) == []
    long = window_ends(200_000, ClipGeometry(clip_ms=90_000, context_ms=70_000))
    assert {70_000, 160_000, 200_000} <= set(long) and long == sorted(set(long))
    assert all(0 < after - before <= 30_000 for before, after in zip([0, *long], long, strict=False))


# -- recognition


@pytest.mark.slow
def test_speech_of_every_recording_is_written_and_the_rest_are_rows(
    workspace: Workspace, noisy: Path, tiny_whisper: Path, tmp_path: Path
) -> None:
    make_video(tmp_path / "silent.mp4", None, seconds=4)
    (tmp_path / "broken.mp4").write_bytes(noisy.read_bytes()[:3_000])
    make_video(tmp_path / "quiet.mp4", lambda t: 0.0001 * np.sin(t), seconds=30)
    add(workspace, "a-noise", noisy)
    add(workspace, "b-silent", tmp_path / "silent.mp4", seconds=4)
    add(workspace, "c-broken", tmp_path / "broken.mp4")
    add(workspace, "d-text", None)
    add(workspace, "e-quiet", tmp_path / "quiet.mp4", seconds=30)
    summary = transcribe(workspace, asr=str(tiny_whisper), device="cpu")
    assert {a.recording_id: (a.status, a.error_class) for a in summary.attempts} == {
        "a-noise": ("ok", None),
        "b-silent": ("failed", "no-audio"),
        "c-broken": ("failed", "unreadable-video"),
        "d-text": ("skipped", None),
        "e-quiet": ("ok", None),
    }
    assert summary.exit_code == 3
    assert workspace.ledger.latest("transcribe")["b-silent"].reason
    said = rows(workspace, "a-noise")
    assert said and all(0 <= row["start_ms"] < row["end_ms"] <= SECONDS * 1000 and row["text"] for row in said)
    ends = [0, *window_ends(SECONDS * 1000, ClipGeometry())]
    for row in said:  # no segment reaches over a moment at which a model is asked
        assert not any(row["start_ms"] < end < row["end_ms"] for end in ends)
    assert rows(workspace, "e-quiet") == [], "silence is not asked for words"
    by = parquet_metadata(workspace.transcripts_path("a-noise"))["by"]
    assert by["model"] == "whisper-of-noise" and len(by["weights"]) == 64 and by["language"] == "en"

    before = workspace.transcripts_path("a-noise").read_bytes()
    again = transcribe(workspace, asr=str(tiny_whisper), device="cpu")
    assert again.count("current") == 2
    with pytest.raises(UsageError, match="knows no language 'xx'"):
        transcribe(workspace, asr=str(tiny_whisper), device="cpu", language="xx")
    german = transcribe(workspace, asr=str(tiny_whisper), device="cpu", language="de", limit=1)
    assert german.count("ok") == 1, "another language is another transcript"
    transcribe(workspace, asr=str(tiny_whisper), device="cpu", limit=1)
    assert workspace.transcripts_path("a-noise").read_bytes() == before, "the same bytes again"


def test_words_of_a_ctc_model_become_segments(workspace: Workspace, noisy: Path, tmp_path: Path) -> None:
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    folder = tmp_path / "tiny-ctc"
    folder.mkdir()
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefgh"]
    (folder / "vocab.json").write_text(json.dumps({letter: n for n, letter in enumerate(letters)}))
    torch.manual_seed(0)
    layers = {"conv_dim": (16,) * 3, "conv_stride": (10, 8, 4), "conv_kernel": (10, 8, 4), "num_feat_extract_layers": 3}
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    groups = {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "pad_token_id": 0}
    Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(letters), **layers, **shape, **groups)).save_pretrained(folder)
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    add(workspace, "a", noisy)
    (attempt,) = transcribe(workspace, asr=str(folder), device="cpu").attempts
    assert attempt.status == "ok", attempt.reason
    for row in rows(workspace, "a"):
        assert row["end_ms"] - row["start_ms"] <= 10_000 or " " not in row["text"], "only one word may be longer"
    assert "language" not in parquet_metadata(workspace.transcripts_path("a"))["by"]


def test_windows_of_one_length_are_heard_together_or_one_by_one_with_one_result(tiny_whisper: Path) -> None:
    rng = np.random.default_rng(0)
    heard = [
        Window(start_ms=n * 30_000, samples=rng.uniform(-0.3, 0.3, 30 * RATE).astype(np.float32)) for n in range(3)
    ]
    model = load_recogniser(str(tiny_whisper))
    assert model.pipe.tokenizer.pad_token_id is None, "with such a tokenizer transformers refuses batches"
    one_by_one = model.segments(heard, language="en")
    model.pipe.tokenizer.pad_token = model.pipe.tokenizer.eos_token
    assert model.segments(heard, language="en") == one_by_one
    assert sum(map(len, one_by_one)) > 0


def test_untrained_and_foreign_models_are_refused(
    workspace: Workspace, noisy: Path, tiny_whisper: Path, tmp_path: Path
) -> None:
    add(workspace, "a", noisy, seconds=20)
    bare = tmp_path / "bare"
    shutil.copytree(tiny_whisper, bare)
    (bare / "model.safetensors").rename(bare / "pytorch_model.bin")
    with pytest.raises(MissingInput, match=r"pytorch_model\.bin, a pickle") as error:
        transcribe(workspace, asr=str(bare), device="cpu")
    assert "untrained:" in error.value.fix
    transcribe(workspace, asr=f"untrained:{bare}", device="cpu")
    by = parquet_metadata(workspace.transcripts_path("a"))["by"]
    assert (by["trained"], by["model"]) == (False, "untrained:bare")
    with pytest.raises(MissingInput, match="cannot be loaded") as error:
        transcribe(workspace, asr="openai/whisper-medium", device="cpu")
    assert "--from FOLDER" in error.value.fix and "--asr FOLDER" in error.value.fix
    (bare / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UsageError, match="no speech-recognition model"):
        transcribe(workspace, asr=f"untrained:{bare}", device="cpu")
    half = tmp_path / "half"
    shutil.copytree(tiny_whisper, half)
    from safetensors.torch import load_file, save_file

    tensors = load_file(half / "model.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, half / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Exception, match="lacks 1 of its weights"):
        transcribe(workspace, asr=str(half), device="cpu")


# -- ready files

VTT = """WEBVTT
Kind: captions

NOTE a remark
of two lines

1
00:01.000 --> 00:02.500 align:start
<v Roger>hello <c.loud>chat</c> &amp; all

01:00:02.000 --> 01:00:03.000
hello chat &amp; all
and something new
"""
SRT = "1\n00:00:01,000 --> 00:00:02,500\n<i>hello</i> {\\an8}chat\nsecond line\n\n2\n00:00:03,000 --> 00:00:03,000\nx\n"


def test_the_three_forms_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.vtt").write_text(VTT)
    assert read_transcript(tmp_path / "a.vtt") == [
        (1_000, 2_500, "hello chat & all"),
        (3_602_000, 3_603_000, "and something new"),
    ]
    (tmp_path / "a.srt").write_text("\ufeff" + SRT.replace("\n", "\r\n"))
    assert read_transcript(tmp_path / "a.srt") == [(1_000, 2_500, "hello chat second line")]
    lines = [{"start": 7.5, "end": 9, "text": " later 😀 שלום "}, {"start_ms": 10, "end_ms": 20, "text": "first"}]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    assert read_transcript(tmp_path / "a.jsonl") == [(10, 20, "first"), (7_500, 9_000, "later 😀 שלום")]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("a.vtt", "00:01.000 --> 00:02.000\nx\n", "line 1: a WebVTT file begins"),
        ("a.vtt", "WEBVTT\n\n00:01.000 --> soon\nx\n", "line 3: .* is not two times"),
        ("a.srt", "1\nhello\n", "line 1: '1' is no subtitle"),
        ("a.jsonl", '{"start": 1, "end": 2, "text": "x"}\nno\n', "line 2: it is not JSON"),
        ("a.jsonl", '{"start": NaN, "end": 2, "text": "x"}\n', "line 1: its start is NaN"),
        ("a.jsonl", '{"start": true, "end": 2, "text": "x"}\n', "line 1: its start is true"),
        ("a.jsonl", '{"start": 1, "end": 1e30, "text": "x"}\n', "outside of any recording"),
        ("a.jsonl", '{"start": 1, "end": 2}\n', "line 1: expected"),
        ("a.jsonl", "[1]\n", "line 1: expected"),
    ],
)
def test_a_file_that_breaks_its_format_is_named_with_the_line(tmp_path: Path, name: str, text: str, what: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadRecording, match=what) as error:
        read_transcript(tmp_path / name)
    assert error.value.error_class == "bad-transcript"


@given(st.sampled_from([".vtt", ".srt", ".jsonl"]), st.one_of(st.binary(max_size=200), st.text(max_size=200)))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: bytes | str
) -> None:
    path = tmp_path_factory.mktemp("any") / f"x{suffix}"
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    try:
        found = read_transcript(path)
    except BadRecording:
        return
    assert found == sorted(found, key=lambda row: row[:2])
    assert all(0 <= start < end and text.strip() for start, end, text in found)


def test_ready_files_come_in_by_name_and_bad_ones_are_rows(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("twitch-1", "twitch-2", "twitch-3", "twitch-4"):
        add(workspace, name, None, seconds=60)
    folder = tmp_path / "subtitles"
    folder.mkdir()
    (folder / "twitch-1.srt").write_text(SRT)
    (folder / "2.en.vtt").write_text(VTT)
    (folder / "twitch-3.srt").write_text("broken")
    (folder / "twitch-9.srt").write_text(SRT)
    assert plan_transcribe(workspace, asr="", folder=folder)["recordings"] == 3
    with pytest.raises(SystemExit) as done:
        main(["transcribe", "--data", str(workspace.root), "--from", str(folder), "--json"])
    assert done.value.code == 3
    shown = capsys.readouterr()
    value = json.loads(shown.out)
    assert (value["ok"], value["skipped"], value["result"]) == (2, 1, {"segments": 2, "words": 8})
    assert value["failed"][0]["recording_id"] == "twitch-3" and "line 1" in value["failed"][0]["reason"]
    assert "1 files belong to no recording, twitch-9.srt first" in shown.err
    assert [row["text"] for row in rows(workspace, "twitch-2")] == ["hello chat & all"], "an hour later is past the end"
    assert workspace.ledger.latest("transcribe")["twitch-2"].counts["past_end"] == 1
    assert parquet_metadata(workspace.transcripts_path("twitch-1"))["by"] == {"format": "srt"}
    assert import_transcripts(workspace, folder).count("current") == 2
    (folder / "1.vtt").write_text(VTT)
    assert import_transcripts(workspace, folder).failed[0].error_class == "two-transcripts"
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(MissingInput, match="named after a recording"):
        import_transcripts(workspace, folder)


def test_a_transcript_that_was_imported_is_kept_unless_asked(
    workspace: Workspace, noisy: Path, tiny_whisper: Path, tmp_path: Path
) -> None:
    add(workspace, "a", noisy, seconds=20)
    (tmp_path / "a.srt").write_text(SRT)
    import_transcripts(workspace, tmp_path)
    assert transcribe(workspace, asr=str(tiny_whisper), device="cpu").count("skipped") == 1
    assert rows(workspace, "a")[0]["text"] == "hello chat second line"
    assert transcribe(workspace, asr=str(tiny_whisper), device="cpu", replace=True).count("ok") == 1
    assert rows(workspace, "a")[0]["text"] != "hello chat second line"


def test_who_was_forgotten_is_left_out_of_later_transcripts(workspace: Workspace, tmp_path: Path) -> None:
    add(workspace, "a", None)
    stones = Tombstones.open(workspace)
    stones.add("word", ["planted_user7"])
    stones.add("user", ["planted_user7"])
    stones.save()
    lines = [(1, "hello chat"), (2, "thanks Planted_User7 for this"), (3, "hi @planted_user7")]
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"start": n, "end": n + 1, "text": text}) + "\n" for n, text in lines)
    )
    (attempt,) = import_transcripts(workspace, tmp_path).attempts
    assert attempt.counts["forgotten"] == 2
    assert [row["text"] for row in rows(workspace, "a")] == ["hello chat"]
    assert "planted" not in workspace.transcripts_path("a").read_bytes().decode("utf-8", "replace").casefold()


def test_the_command_refuses_what_does_not_go_together(workspace: Workspace, capsys: Any) -> None:
    with pytest.raises(SystemExit) as done:
        main(["transcribe", "--data", str(workspace.root), "--from", ".", "--asr", "x"])
    assert done.value.code == 2
    assert "leave out --asr" in capsys.readouterr().err
    with pytest.raises(SystemExit) as done:
        main(["transcribe", "--data", str(workspace.root), "--dry-run", "--json"])
    assert done.value.code == 0
    assert json.loads(capsys.readouterr().out)["asr"] == "openai/whisper-medium"
