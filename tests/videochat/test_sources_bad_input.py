"""What people hand over in place of a chat: one clear line that says what it is, why not, and what to do."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from videochat.errors import UsageError
from videochat.ledger import Attempt
from videochat.sources.local import ImportItem, import_recordings
from videochat.workspace import Workspace

NODE = {
    "id": "1",
    "commenter": None,
    "contentOffsetSeconds": 1,
    "message": {"fragments": [{"emote": None, "text": "hi"}], "userBadges": []},
}
CHAT = json.dumps([NODE | {"id": str(n)} for n in range(3000)]).encode()
PACKED = gzip.compress(CHAT, mtime=0)
DAMAGED = PACKED[:-600] + bytes(byte ^ 0xFF for byte in PACKED[-600:-500]) + PACKED[-500:]

BAD = {
    "empty": (b"", "empty-file", "is empty"),
    "blank": (b" \n\t\n", "empty-file", "is empty"),
    "empty gzip": (gzip.compress(b""), "empty-file", "is empty"),
    "truncated gzip": (PACKED[: len(PACKED) // 2], "truncated-gzip", "middle of its gzip"),
    "gzip without its end": (PACKED[:-8], "truncated-gzip", "middle of its gzip"),
    "gzip with wrong sum": (PACKED[:-8] + b"\0" * 8, "corrupt-gzip", "damaged gzip"),
    "damaged gzip": (DAMAGED, "corrupt-gzip", "damaged gzip"),
    "gzip and rubbish": (PACKED + b"rubbish", "corrupt-gzip", "damaged gzip"),
    "html": (b"<!DOCTYPE html>\n<html><body>429</body></html>", "unknown-format", "an HTML page"),
    "html in gzip": (gzip.compress(b"<html>"), "unknown-format", "an HTML page"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "unknown-format", "a PNG picture"),
    "mp4": (b"\0\0\0\x20ftypisom" + bytes(100), "unknown-format", "an MP4 video"),
    "garbage": (bytes(range(128, 256)) * 9, "unknown-format", "binary data"),
    "utf-16": (b"\xff\xfe" + "[]".encode("utf-16-le"), "unknown-format", "UTF-16"),
    "prose": (b"Dear reader,\nthis is no chat.", "unknown-format", "Dear reader"),
    "other json": (b'[{"name": "x", "price": 3}]', "unknown-format", "'name', 'price'"),
    "other csv": (b"name,price\nx,3\n", "unknown-format", "name,price"),
    "other xml": (b"<rss><channel/></rss>", "invalid-xml", "<rss>"),
    "markup": (b'<img src="" onerror="alert()">', "invalid-xml", "<img>"),
    "unclosed xml": (b'<i><d p="1,1,25">hi</i>', "invalid-xml", "mismatched tag in line 1"),
    "half an xml": (b'<i><d p="1,1,25">hi</d>', "invalid-xml", "no element found in line 1"),
    "no messages": (b"[]", "no-messages", "no message"),
    "no comments": (b'{"video": {}, "comments": []}', "no-messages", "no message"),
    "no danmaku": (b"<i><chatid>1</chatid></i>", "no-messages", "no message"),
    "only a header": (b"time,author,text\n", "no-messages", "no message"),
    "truncated json": (CHAT[: len(CHAT) // 2], "truncated-json", "middle of its JSON"),
    "json without its end": (CHAT[:-1], "truncated-json", "middle of its JSON"),
    "torn last line": (b'{"offset_ms": 1, "fragments": [["a", null]]}\n{"offset_m', "truncated-json", "middle of"),
    "rubbish after json": (CHAT + b"rubbish", "invalid-json", "object or an array expected"),
    "json with a bad header": (b'{"video": nope, "comments": []}', "invalid-json", "'video'"),
    "unquoted json": (b"{comments: []}", "invalid-json", "string expected"),
    "deep pages": (b'{"data":' * 50 + b"1" + b"}" * 50, "invalid-json", "nested"),
    "deep array": (b"[" * 100_000, "truncated-json", "middle of its JSON"),
    "live capture": (
        b'{"message_id": "1", "message_type": "text_message", "author": {}, "message": "hi", "timestamp": 5}\n',
        "no-messages",
        "live chat",
    ),
    "half a quoted field": (b'time,author,text\n1,ann,"half', "invalid-csv", "line 2"),
    "csv in latin-1": (b"time,author,text\n1,ann,\xe9t\xe9\n", "invalid-csv", "UTF-8"),
}


def failure(workspace: Workspace, path: Path) -> Attempt:
    (attempt,) = import_recordings(workspace, [ImportItem(chat=path, category="Art")], num_workers=1).attempts
    assert attempt.status == "failed"
    assert workspace.recordings() == []
    raw = workspace.root / "raw"
    assert not raw.exists() or not list(raw.iterdir())
    assert not list((workspace.root / ".import").glob("*"))
    return attempt


@pytest.mark.parametrize("what", BAD)
def test_bad_files(tmp_path: Path, workspace: Workspace, what: str):
    data, error_class, words = BAD[what]
    path = tmp_path / "chat.json"
    path.write_bytes(data)
    attempt = failure(workspace, path)
    assert attempt.error_class == error_class
    assert attempt.reason is not None
    assert words in attempt.reason
    assert "\n" not in attempt.reason


def test_a_missing_file(tmp_path: Path, workspace: Workspace):
    attempt = failure(workspace, tmp_path / "none.json")
    assert attempt.error_class == "missing-file"


def test_a_folder(tmp_path: Path, workspace: Workspace):
    attempt = failure(workspace, tmp_path)
    assert attempt.error_class == "not-a-file"


def test_unknown_formats_name_the_known_ones(tmp_path: Path, workspace: Workspace):
    (tmp_path / "x").write_text("no chat")
    reason = failure(workspace, tmp_path / "x").reason
    assert reason is not None
    for name in ("GraphQL", "TwitchDownloader", "v5/rechat", "chat-downloader", "Bilibili", "CSV", "RawMessage"):
        assert name in reason


def test_nothing_to_import(workspace: Workspace):
    with pytest.raises(UsageError):
        import_recordings(workspace, [])


def test_a_full_disk_stops_with_one_line_and_leaves_nothing(tmp_path: Path):
    """A real full disk needs root; a limit on the size of files makes the same write fail."""
    import subprocess
    import sys

    path = tmp_path / "c.json"
    path.write_bytes(CHAT)
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from videochat.errors import VideochatError\n"
        "from videochat.sources.local import ImportItem, import_recordings\n"
        "from videochat.workspace import Workspace\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "workspace = Workspace.open(sys.argv[1], create=True)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    import_recordings(workspace, [ImportItem(chat=Path(sys.argv[2]), category='Art')], num_workers=1)\n"
        "except VideochatError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "data", path], capture_output=True, text=True, check=True
    )
    assert "make room" in done.stdout
    assert done.stdout.count("\n") == 1
    assert Workspace.open(tmp_path / "data").recordings() == []
    assert not list((tmp_path / "data" / ".import").iterdir())
