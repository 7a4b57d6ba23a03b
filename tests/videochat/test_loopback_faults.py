"""Each fault of the loopback Twitch does what its name says, seen through plain requests; and so do its answers."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

COMMENTS_HASH = "b70a3591ff0f4e0313d126c6a1502d79a1c02baebb288227c582044aa76adf6a"
ID = "1234567890"


def post(body: Any, **headers: str) -> Any:
    import requests

    given = {"Client-ID": "kd1unb4b3q4t58fwlpcbzcbnm76a8fp", **headers}
    return requests.post("https://gql.twitch.tv/gql", data=json.dumps(body), headers=given, timeout=10)


def page(video: str = ID, **variables: Any) -> Any:
    """One page of chat as the server answers it."""
    persisted = {"persistedQuery": {"version": 1, "sha256Hash": COMMENTS_HASH}}
    asked = {"operationName": "VideoCommentsByOffsetOrCursor", "variables": {"videoID": video, **variables}}
    return post([{**asked, "extensions": persisted}])


def edges(response: Any) -> list[Any]:
    return response.json()[0]["data"]["video"]["comments"]["edges"]


def seconds(response: Any) -> list[int]:
    return [edge["node"]["contentOffsetSeconds"] for edge in edges(response)]


def walk(video: str = ID) -> list[str]:
    """Ids by cursor until there is no next page."""
    found: list[str] = []
    asked: dict[str, Any] = {"contentOffsetSeconds": 0}
    while True:
        comments = page(video, **asked).json()[0]["data"]["video"]["comments"]
        found += [edge["node"]["id"] for edge in comments["edges"]]
        if not comments["pageInfo"]["hasNextPage"]:
            return found
        asked = {"cursor": comments["edges"][-1]["cursor"]}


def urls(height: int = 160) -> tuple[str, list[str]]:
    """(address of the media playlist, addresses of its fragments) of one rendition."""
    import requests

    text = '{ videoPlaybackAccessToken(id: "%s", params: {platform: "web"}) { value signature } }' % ID  # noqa: UP031
    token = post({"query": text}).json()["data"]["videoPlaybackAccessToken"]
    query = {"token": token["value"], "sig": token["signature"]}
    master = requests.get(f"https://usher.ttvnw.net/vod/{ID}.m3u8", params=query, timeout=10)
    assert master.status_code == 200, master.text
    lines = master.text.splitlines()
    at = next(index for index, line in enumerate(lines) if f"x{height}," in line)
    playlist = lines[at + 1]
    text = requests.get(playlist, timeout=10).text
    return playlist, [playlist.rpartition("/")[0] + "/" + line for line in text.splitlines() if line.endswith(".ts")]


def get(url: str) -> Any:
    import requests

    return requests.get(url, timeout=10)


def test_pages_are_those_of_the_service(twitch: Any) -> None:
    nodes = twitch.comments(300, 120, seed=3, after_end=4)
    twitch.add_vod(twitch.Vod(comments=nodes))
    assert walk() == [node["id"] for node in nodes]
    middle = page(contentOffsetSeconds=60)
    assert len(edges(middle)) == 59
    assert seconds(middle)[0] < 60 <= seconds(middle)[10]  # the page starts before the offset asked for
    past = page(contentOffsetSeconds=400).json()[0]
    assert past["data"]["video"]["comments"]["edges"] == []
    assert past["errors"][0]["message"] == "service error"
    unknown = page("999", contentOffsetSeconds=0)
    assert unknown.status_code == 200
    assert unknown.json() == [{"data": {"video": None}, "extensions": {}}]
    assert max(node["contentOffsetSeconds"] for node in nodes) > 120


def test_an_offset_cannot_pass_a_second_that_is_fuller_than_a_page_and_a_cursor_can(twitch: Any) -> None:
    nodes = twitch.comments(100, 100, seed=4, burst=(50, 130))
    twitch.add_vod(twitch.Vod(comments=nodes))
    by_offset = {edge["node"]["id"] for second in range(45, 56) for edge in edges(page(contentOffsetSeconds=second))}
    near = [node for node in nodes if 45 <= node["contentOffsetSeconds"] <= 55]
    lost = [node for node in near if node["id"] not in by_offset]
    assert len(lost) > 50
    assert {node["contentOffsetSeconds"] for node in lost} == {50}
    assert len(walk()) == 230


def test_raw_text_gets_the_fields_that_it_asks_for(twitch: Any) -> None:
    twitch.add_vod(twitch.Vod(muted=[(10, 20)], language="de"))
    text = "query($id: ID!) { v: video(id: $id) { lengthSeconds language game { name } owner { login } ...m } } "
    text += "fragment m on Video { muteInfo { mutedSegmentConnection { nodes { offset duration } } } }"
    answer = post({"query": text, "variables": {"id": ID}}).json()
    assert answer["data"]["v"] == {
        "lengthSeconds": 120,
        "language": "de",
        "game": {"name": "Minecraft"},
        "owner": {"login": "streamer"},
        "muteInfo": {"mutedSegmentConnection": {"nodes": [{"offset": 10, "duration": 10}]}},
    }
    wrong = post({"query": '{ video(id: "%s") { lenght } }' % ID}).json()  # noqa: UP031
    assert wrong == {"errors": [{"message": 'Cannot query field "lenght" on type "Video".'}]}
    assert "Syntax Error" in post({"query": "{ video("}).json()["errors"][0]["message"]
    assert "must have a selection" in post({"query": '{ video(id: "%s") }' % ID}).json()["errors"][0]["message"]  # noqa: UP031


def test_the_service_wants_a_client_id_and_takes_no_token(twitch: Any) -> None:
    assert post([{}], **{"Client-ID": ""}).status_code == 400
    assert post([{}], Authorization="OAuth abc").status_code == 401


def test_integrity_fails_by_cursor_after_n_pages_and_offsets_go_on(twitch: Any) -> None:
    twitch.add_vod(twitch.Vod(comments=twitch.comments(300, 120, seed=5)))
    fault = twitch.fault("integrity-after-page", n=2)
    first = page(contentOffsetSeconds=0)
    second = page(cursor=edges(first)[-1]["cursor"])
    third = page(cursor=edges(second)[-1]["cursor"])
    assert third.status_code == 200
    answer = third.json()[0]
    assert answer["data"]["video"]["comments"] is None
    assert answer["errors"][0]["message"] == "failed integrity check"
    assert answer["extensions"]["challenge"]["type"] == "integrity"
    assert len(edges(page(contentOffsetSeconds=30))) == 59
    assert fault.struck == 1


def test_comments_null_passes(twitch: Any) -> None:
    twitch.add_vod(twitch.Vod(comments=twitch.comments(30, 120)))
    twitch.fault("comments-null", times=2, message="service error")
    for _ in range(2):
        answer = page(contentOffsetSeconds=0).json()[0]
        assert answer["data"]["video"]["comments"] is None
        assert answer["errors"][0]["message"] == "service error"
    assert len(edges(page(contentOffsetSeconds=0))) == 30


def test_rotated_hashes_leave_raw_text(twitch: Any) -> None:
    twitch.add_vod(twitch.Vod())
    twitch.fault("rotated-hashes")
    answer = page(contentOffsetSeconds=0)
    assert answer.status_code == 200
    assert answer.json() == [{"errors": [{"message": "PersistedQueryNotFound"}]}]
    text = '{ video(id: "%s") { title } }' % ID  # noqa: UP031
    assert post({"query": text}).json()["data"]["video"]["title"]


def test_a_rate_limit_holds_until_its_time(twitch: Any) -> None:
    twitch.add_vod(twitch.Vod(comments=twitch.comments(3, 120)))
    fault = twitch.fault("rate-limit", times=1, retry_after_s=1)
    refused = page(contentOffsetSeconds=0)
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"
    assert page(contentOffsetSeconds=0).status_code == 429
    assert fault.violations == 1
    time.sleep(1.05)
    assert page(contentOffsetSeconds=0).status_code == 200
    assert (fault.struck, fault.violations) == (1, 1)


@pytest.mark.parametrize(("name", "status"), [("server-error", 500), ("unauthorized", 401)])
def test_a_burst_ends(twitch: Any, name: str, status: int) -> None:
    twitch.add_vod(twitch.Vod())
    twitch.fault(name, times=3)
    assert [page(contentOffsetSeconds=0).status_code for _ in range(4)] == [status, status, status, 200]


def test_broken_answers(twitch: Any) -> None:
    import requests

    twitch.add_vod(twitch.Vod(comments=twitch.comments(30, 120)))
    twitch.fault("truncated-json", times=1)
    half = page(contentOffsetSeconds=0)
    assert half.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(half.text)
    twitch.fault("html-page", times=1)
    assert page(contentOffsetSeconds=0).text.startswith("<!DOCTYPE html>")
    twitch.fault("cut-answer", times=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        page(contentOffsetSeconds=0)
    assert len(edges(page(contentOffsetSeconds=0))) == 30


def test_a_fragment_is_cut_missing_or_answered_in_parts(twitch: Any) -> None:
    import requests

    twitch.add_vod(twitch.Vod(duration_s=35))
    _, fragments = urls()
    whole = get(fragments[1]).content
    twitch.fault("cut", segment=1, times=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get(fragments[1])
    assert twitch.requests[-1]["cut"]
    assert get(fragments[1]).content == whole
    part = requests.get(fragments[1], headers={"Range": "bytes=100-"}, timeout=10)
    assert (part.status_code, part.content) == (206, whole[100:])
    twitch.fault("missing-fragment", segment=2)
    assert [get(url).status_code for url in fragments] == [200, 200, 404, 200]


def test_muted_parts_have_no_sound_and_unmuted_names_are_forbidden(twitch: Any) -> None:
    import io

    import av

    twitch.add_vod(twitch.Vod(duration_s=35, muted=[(10, 20)]))
    playlist, fragments = urls()
    assert [url.rpartition("/")[2] for url in fragments] == ["0.ts", "1-muted.ts", "2.ts", "3.ts"]
    loudest = []
    starts = []
    for url in fragments[:2]:
        with av.open(io.BytesIO(get(url).content)) as file:
            starts.append(float(file.streams.video[0].start_time * file.streams.video[0].time_base))
            loudest.append(max(abs(frame.to_ndarray()).max() for frame in file.decode(audio=0)))
    assert loudest[0] > 0.05 > 0.001 > loudest[1]
    assert starts[1] - starts[0] == pytest.approx(10, abs=0.05)
    twitch.fault("muted-403")
    assert "1-unmuted.ts" in get(playlist).text
    unmuted = fragments[1].replace("-muted", "-unmuted")
    assert (get(unmuted).status_code, get(fragments[1]).status_code) == (403, 200)


def test_empty_gone_restricted_and_gapped(twitch: Any) -> None:
    vod = twitch.add_vod(twitch.Vod(duration_s=0))
    assert urls()[1] == []
    twitch.add_vod(twitch.Vod(duration_s=45, gaps=[(10, 30)]))
    playlist, fragments = urls()
    assert [url.rpartition("/")[2] for url in fragments] == ["0.ts", "3.ts", "4.ts"]
    assert get(playlist).text.count("#EXT-X-DISCONTINUITY") == 1
    empty = twitch.fault("zero-length")
    assert urls()[1] == []
    empty.remove()
    restricted = twitch.fault("restricted", times=1)
    with pytest.raises(AssertionError, match="vod_manifest_restricted"):
        urls()
    assert restricted.struck == 1
    twitch.fault("gone", vod=vod.id)
    assert page(contentOffsetSeconds=0).json()[0]["data"]["video"] is None


def test_a_slow_server_keeps_its_limit(twitch: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    twitch.add_vod(twitch.Vod(duration_s=35))
    _, fragments = urls(height=360)
    size = sum(len(get(url).content) for url in fragments)
    twitch.fault("slow", host="media", bytes_per_s=size / 1.0)
    started = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        assert sum(len(body.content) for body in pool.map(get, fragments)) == size
    assert 0.95 < time.monotonic() - started < 1.4
    started = time.monotonic()
    page(contentOffsetSeconds=0)
    assert time.monotonic() - started < 0.5  # another host


def test_helix_gives_tokens_pages_and_limits(twitch: Any) -> None:
    import requests

    twitch.add_category("Minecraft", "27471")
    for index in range(5):
        twitch.add_vod(twitch.Vod(id=str(100 + index), channel=f"c{index % 2}", duration_s=3661, language="en"))
    twitch.add_vod(twitch.Vod(id="200", category="Chess"))
    client = {"client_id": twitch.helix.client_id, "client_secret": twitch.helix.client_secret}
    token_url = "https://id.twitch.tv/oauth2/token"
    wrong = requests.post(token_url, data={**client, "client_secret": "no"}, timeout=10)
    assert wrong.status_code == 403
    given = requests.post(token_url, data={**client, "grant_type": "client_credentials"}, timeout=10).json()
    headers = {"Authorization": f"Bearer {given['access_token']}", "Client-Id": twitch.helix.client_id}

    def ask(what: str, **query: Any) -> Any:
        return requests.get(f"https://api.twitch.tv/helix/{what}", params=query, headers=headers, timeout=10)

    assert ask("games", name=["Minecraft", "Nothing"]).json()["data"][0]["id"] == "27471"
    first = ask("videos", game_id="27471", first=3, language="en").json()
    second = ask("videos", game_id="27471", first=3, language="en", after=first["pagination"]["cursor"])
    assert [video["id"] for video in first["data"] + second.json()["data"]] == ["104", "103", "102", "101", "100"]
    assert second.json()["pagination"] == {}
    assert first["data"][0]["duration"] == "1h1m1s"
    assert int(second.headers["Ratelimit-Remaining"]) == 797
    assert [video["id"] for video in ask("videos", id=["200", "104"]).json()["data"]] == ["200", "104"]
    twitch.helix.points = 4
    assert ask("users", login="c0").status_code == 429
    twitch.helix.expire_tokens()
    assert ask("users", login="c0").status_code == 401
    assert given["access_token"] in twitch.secrets


def test_real_files_have_the_shape_of_the_loopback(twitch: Any) -> None:
    """Comments of the loopback are read by the reader of real GraphQL files, nothing malformed."""
    from videochat.sources.formats import Notes
    from videochat.sources.twitch_graphql import convert

    messages = [convert(node, Notes()) for node in twitch.comments(200, 60, seed=6)]
    assert sum(message["author"] is None for message in messages) > 0
    assert any(emote for message in messages for _, emote in message["fragments"])


@pytest.mark.fixtures
def test_comments_have_the_keys_of_real_ones(twitch: Any, real: Any) -> None:
    import gzip

    def shape(value: Any) -> Any:
        """Keys and kinds of a node; of lists, those that occur."""
        if isinstance(value, dict):
            return {key: shape(item) for key, item in value.items()}
        if isinstance(value, list):
            return sorted({json.dumps(shape(item), sort_keys=True) for item in value})
        return type(value).__name__

    def shapes(nodes: list[Any]) -> set[str]:
        return {json.dumps(shape({k: v for k, v in node.items() if k != "message"}), sort_keys=True) for node in nodes}

    def parts(nodes: list[Any], key: str) -> set[str]:
        return {part for node in nodes for part in shape(node["message"][key])}

    path = sorted((real / "chat" / "gql").glob("*.comments.json.gz"))[0]
    with gzip.open(path) as file:
        truth = json.load(file)
    made = twitch.comments(500, 60, seed=7)
    assert shapes(made) <= shapes(truth)
    for key in ("fragments", "userBadges"):
        assert parts(made, key) <= parts(truth, key)
