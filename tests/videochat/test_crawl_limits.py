"""The rate limit of a host: bursts, the long run, pauses, threads, one bucket for a whole domain."""

from __future__ import annotations

import threading
import time

import pytest

from videochat.crawl.limits import LIMITS, HostLimits, Rate
from videochat.errors import UsageError


def seconds(limits: HostLimits, host: str, count: int) -> float:
    begin = time.monotonic()
    for _ in range(count):
        limits.wait(host)
    return time.monotonic() - begin


@pytest.mark.alone
def test_a_burst_goes_at_once_and_then_the_rate_holds() -> None:
    limits = HostLimits({"a.test": Rate(per_second=50, burst=5)})
    assert seconds(limits, "a.test", 5) < 0.08  # 0.1 without a burst
    assert 0.09 <= seconds(limits, "a.test", 5) < 0.3


@pytest.mark.alone
def test_rest_fills_the_bucket_but_never_beyond_its_burst() -> None:
    limits = HostLimits({"a.test": Rate(per_second=100, burst=3)})
    seconds(limits, "a.test", 3)
    time.sleep(0.2)
    assert 0.025 <= seconds(limits, "a.test", 6) < 0.2


@pytest.mark.alone
def test_threads_share_one_limit() -> None:
    limits = HostLimits({"a.test": Rate(per_second=100, burst=1)})
    begin = time.monotonic()
    threads = [threading.Thread(target=seconds, args=(limits, "a.test", 5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.18 <= time.monotonic() - begin < 0.6


@pytest.mark.alone
def test_a_pause_stops_those_who_wait_already() -> None:
    limits = HostLimits({"a.test": Rate(per_second=20, burst=1)})
    limits.wait("a.test")
    slept: list[float] = []
    thread = threading.Thread(target=lambda: slept.append(limits.wait("a.test")))
    thread.start()
    limits.pause("a.test", 0.3)
    limits.pause("a.test", 0.01)  # a shorter pause does not end a longer one
    assert limits.paused_s("a.test") > 0.2
    assert seconds(limits, "b.test", 1) < 0.05  # another host goes on
    thread.join()
    assert slept[0] >= 0.25


def test_hosts_under_a_known_domain_share_its_bucket() -> None:
    limits = HostLimits({"cloudfront.net": Rate(per_second=20, burst=1)})
    assert limits.bucket("d1.CloudFront.net.") == limits.bucket("d2.cloudfront.net") == "cloudfront.net"
    assert limits.bucket("notcloudfront.net") == "notcloudfront.net"
    limits.wait("d1.cloudfront.net")
    assert limits.wait("d2.cloudfront.net") > 0.03


def test_the_shared_limits_know_the_hosts_of_twitch() -> None:
    assert LIMITS.bucket("gql.twitch.tv") == "gql.twitch.tv"
    assert LIMITS.bucket("d1m7jfoe9zdc1j.cloudfront.net") == "cloudfront.net"


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_an_impossible_rate_is_refused(per_second: float, burst: int) -> None:
    with pytest.raises(UsageError):
        Rate(per_second=per_second, burst=burst)
