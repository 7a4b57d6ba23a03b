"""Every command, on two simulated recordings of two minutes, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from videochat.cli import COMMANDS, cli, main


def run(*arguments: object) -> int:
    """The exit code of `videochat ARGUMENTS`, run in this process."""
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert isinstance(done.value.code, int)
    return done.value.code


def test_two_recordings_through_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("sample", "--recordings", 1, "--minutes", 2) == 0
    assert run("sample", "--recordings", 1, "--minutes", 2, "--seed", 7, "--data", "elsewhere") == 0
    (other,) = (tmp_path / "elsewhere" / "raw").iterdir()
    files = ("--video", other / "video.mp4", "--chat", other / "chat.jsonl.gz")
    assert run("import", *files, "--category", "Art", "--channel", "painter") == 0
    assert run("clean", "--workers", 1) == 0
    assert "emote" in capsys.readouterr().out
    assert run("build-features", "--device", "cpu", "--workers", 1) == 0
    assert run("build") == 2
    assert "--split-by recording" in capsys.readouterr().err
    assert run("build", "--fractions", "0.5,0,0.5") == 0
    assert run("candidates", "--k", 2) == 0
    assert "cosine2" in capsys.readouterr().out
    assert run("train", "--model", "sfat", "--seed", 1, "--set", "epochs=1", "--limit", 4) == 0
    capsys.readouterr()
    assert run("bench", "--model", "sfat", "--seed", 1, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert {"oracle", "constant", "tfidf"} <= {row["model"] for row in result["metrics"]["rows"]}
    oracle = [row["metrics"]["R@1"]["value"] for row in result["metrics"]["rows"] if row["model"] == "oracle"]
    assert oracle == [1.0] * 6, "three sets, with and without generic answers"
    assert run("report") == 0
    assert run("report", "--run", Path(result["report"]).parent.name) == 0, "by its id"
    page = Path(result["report"]).read_text(encoding="utf-8")
    assert "simulated" in page.casefold()
    assert run("validate") == 0
    capsys.readouterr()
    assert run("status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["recordings"] == 2
    assert run("demo", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["recordings"] == 60


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_the_listed_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    text = capsys.readouterr().out
    assert "Example:" in text
    assert f"videochat {command}" in text
    assert "--data" in text or command == "read-samples"  # which reads no workspace
    loaded = cli.get_command(None, command)  # type: ignore[arg-type]
    assert loaded is not None and loaded.help is not None
    assert loaded.help.split("\n")[0] == COMMANDS[command][2], "the overview says what the command says"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("clean", "--data", "nowhere"), 1, "no workspace at nowhere"),
        (("cleen",), 2, "Did you mean 'clean'"),
        (("import",), 2, "--chat or --list"),
        (("import", "--chat", "none.json", "--category", "Art"), 2, "'none.json' does not exist"),
        (("import", "--chat", ".", "--category", "Art"), 2, "'.' is a directory"),
        (("bench", "--data", "nowhere"), 1, "videochat sample"),
    ],
)
def test_a_mistake_is_one_clear_line(
    arguments: tuple[str, ...],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == code
    output = capsys.readouterr()
    assert words in output.err + output.out
    assert "Traceback" not in output.err
