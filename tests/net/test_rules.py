"""The pure parts: URLs, addresses, headers, validators, back-off, options."""

from __future__ import annotations

import ipaddress
import ssl
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kithara.errors import BodyTruncated, HttpStatus, PolicyDenied, RangeMismatch, RetryExhausted
from kithara.net import Backoff, HttpOptions, Representation
from kithara.net.exchange import wire_form
from kithara.net.headers import ContentRange, checked, format_range, parse_content_range, parse_retry_after
from kithara.net.policy import Origin, is_private, parse

# ── URLs ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://Host.Example/A/../b?q=%2f#frag", "http://host.example/A/../b?q=%2f"),
        ("HTTPS://host:443/", "https://host/"),
        ("http://host:8080", "http://host:8080/"),
        ("http://host?", "http://host/"),
        ("  http://host/a b ", "http://host/a%20b"),
        ("http://bücher.example/ü", "http://xn--bcher-kva.example/%C3%BC"),
        ("http://[2001:DB8::1]:81/x", "http://[2001:db8::1]:81/x"),
        ("http://user:pw@host/", "http://host/"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
        ("http://①27.0.0.1/", "http://127.0.0.1/"),
        ("http://%6c%6fcalhost/", "http://localhost/"),
    ],
)
def test_a_url_has_one_form(url: str, text: str) -> None:
    assert parse(url).text == text
    assert str(wire_form(parse(url).text)) == text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "song.mp3",
        "/etc/passwd",
        "file:///etc/passwd",
        "ftp://host/",
        "javascript:alert(1)",
        "http:",
        "http://",
        "http:///path",
        "http://host:0/",
        "http://host:99999/",
        "http://host:x/",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://a b/",
        "http://ho\\st/",
        "http://host\\@evil/",
        "http://a..b/",
        "http://-/",
        "http://999.999.999.999/",
        "http://1.2.3.4.5/",
        "http://host/\r\nX-Evil: 1",
        "http://host/\x00",
        "http://host/\x7f",
        "ht\ntp://host/",
        "http://host%0d%0a/",
        "http://" + "a" * 300 + "/",
        "http://host/" + "a" * 70_000,
    ],
)
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(PolicyDenied):
        parse(url)


def test_a_refused_url_is_shown_without_its_secrets() -> None:
    with pytest.raises(PolicyDenied) as caught:
        parse("ftp://me:secret@host/x?token=secret")
    assert "secret" not in str(caught.value) + repr(caught.value)
    assert "ftp://host/x?…" in str(caught.value)


@given(st.text())
def test_no_text_makes_parsing_a_url_fail_in_another_way(text: str) -> None:
    for url in (text, f"http://{text}", f"http://host/{text}"):
        try:
            wire = str(wire_form(parse(url).text))
        except PolicyDenied:
            continue
        assert wire.isascii()
        assert not any(ch <= " " or ch == "\x7f" for ch in wire)


def test_the_origin_is_scheme_host_and_port() -> None:
    assert parse("https://User@Host/x").origin == Origin("https", "host", 443)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "2002:7f00:1::1",
        "2001:db8::1",
    ],
)
def test_these_addresses_are_private(address: str) -> None:
    assert is_private(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_these_addresses_are_public(address: str) -> None:
    assert not is_private(ipaddress.ip_address(address))


# ── headers ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes 0-0/1", ContentRange(0, 1, 1)),
        ("Bytes  5-9/*", ContentRange(5, 10, None)),
        ("bytes */7", ContentRange(None, None, 7)),
        ("bytes */*", None),
        ("bytes 5-4/10", None),
        ("bytes 5-10/10", None),
        ("bytes 5-/10", None),
        ("bytes -5/10", None),
        ("bytes 1-2/10, bytes 3-4/10", None),
        ("bytes=0-1/2", None),
        ("bytes ٣-٤/٩", None),
        ("", None),
        (None, None),
    ],
)
def test_a_content_range_is_read_strictly(value, expected) -> None:
    assert parse_content_range(value) == expected


@given(st.text())
def test_no_content_range_breaks_its_parser(value: str) -> None:
    found = parse_content_range(value)
    assert found is None or found.total is not None or found.stop is not None


def test_a_range_header_counts_to_the_last_byte() -> None:
    assert (format_range(0, 1), format_range(7, None)) == ("bytes=0-0", "bytes=7-")


@pytest.mark.parametrize("value", ["²", "٣", "1e3"])
def test_a_retry_after_in_other_digits_is_garbage(value: str) -> None:
    assert parse_retry_after(value) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"X": "a\r\nb"},
        {"X": "a\nb"},
        {"X": "a\x00"},
        {"X\r\n": "a"},
        {"": "a"},
        {"X y": "a"},
        {"X:": "a"},
        {"X": "\ud800"},
    ],
)
def test_a_header_that_could_forge_another_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(PolicyDenied):
        checked(headers)


@pytest.mark.parametrize(
    "name", ["Range", "host", "Accept-Encoding", "Content-Length", "Transfer-Encoding", "If-Range"]
)
def test_a_header_that_the_client_answers_for_cannot_be_given(name: str) -> None:
    with pytest.raises(ValueError, match="set by the client"):
        checked({name: "x"})


@pytest.mark.parametrize(
    ("validators", "expected"),
    [
        ({"etag": '"a"'}, '"a"'),
        ({"etag": 'W/"a"'}, None),
        ({"etag": "unquoted"}, None),
        ({"etag": '"a"b"'}, None),
        ({"etag": '"a\r\n"'}, None),
        ({}, None),
        ({"last_modified": "Sat, 21 Nov 2020 10:00:00 GMT"}, None),
        (
            {"last_modified": "Sat, 21 Nov 2020 10:00:00 GMT", "date": "Sat, 21 Nov 2020 10:00:01 GMT"},
            "Sat, 21 Nov 2020 10:00:00 GMT",
        ),
        ({"last_modified": "Sat, 21 Nov 2020 10:00:00 GMT", "date": "Sat, 21 Nov 2020 10:00:00 GMT"}, None),
        ({"last_modified": "Sat, 21 Nov 2020 10:00:02 GMT", "date": "Sat, 21 Nov 2020 10:00:00 GMT"}, None),
        ({"last_modified": "yesterday", "date": "Sat, 21 Nov 2020 10:00:00 GMT"}, None),
        (
            {
                "etag": 'W/"a"',
                "last_modified": "Sat, 21 Nov 2020 10:00:00 GMT",
                "date": "Sat, 21 Nov 2020 11:00:00 GMT",
            },
            None,
        ),
    ],
)
def test_only_a_strong_validator_goes_into_if_range(validators: dict[str, str], expected: str | None) -> None:
    assert Representation(total=5, **validators).if_range == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"total": 5}, {"total": 5}, True),
        ({"total": 5}, {"total": 6}, False),
        ({"total": None}, {"total": 6}, True),
        ({"etag": '"a"'}, {"etag": '"a"'}, True),
        ({"etag": '"a"'}, {"etag": '"b"'}, False),
        ({"etag": '"a"'}, {"etag": 'W/"a"'}, True),
        ({"etag": 'W/"a"'}, {"etag": 'W/"b"'}, False),
        ({"etag": '"a"'}, {}, True),
        ({"etag": '"a"', "last_modified": "x"}, {"etag": '"a"', "last_modified": "y"}, True),
        ({"etag": 'W/"a"', "last_modified": "x"}, {"etag": 'W/"a"', "last_modified": "y"}, False),
        ({"last_modified": "x"}, {"last_modified": "y"}, False),
        ({"content_type": "audio/mpeg"}, {"content_type": "text/html"}, False),
        ({"etag": '"a"', "total": 5}, {"etag": '"a"', "total": 6}, False),
    ],
)
def test_two_representations_conflict_when_they_cannot_be_one(one, other, same: bool) -> None:
    a, b = Representation(**one), Representation(**other)
    assert (a.conflict(b) is None, b.conflict(a) is None) == (same, same)


# ── back-off ───────────────────────────────────────────────────────────────────────────────────────────────────────

BROKEN = BodyTruncated("cut")


@pytest.mark.parametrize("dice", [0.0, 0.5, 0.999])
def test_delays_double_from_a_quarter_second_to_eight(dice: float) -> None:
    backoff = Backoff(8, random=lambda: dice)
    delays = [backoff.next(BROKEN) for _ in range(9)]
    whole = [0.25, 0.5, 1, 2, 4, 8, 8, 8]
    assert delays == [*(one * (0.5 + dice / 2) for one in whole), None]


def test_progress_gives_the_call_its_budget_back() -> None:
    backoff = Backoff(2)
    for _ in range(10):
        assert backoff.next(BROKEN) is not None
        assert backoff.next(BROKEN) is not None
        backoff.reset(1 << 20)
    assert backoff.attempt == 21


def test_progress_by_single_bytes_ends_some_day() -> None:
    backoff = Backoff(2)
    rounds = 0
    while backoff.next(BROKEN) is not None:
        backoff.reset(1)
        rounds += 1
    assert rounds < 20


def test_no_progress_gives_nothing_back() -> None:
    backoff = Backoff(1)
    assert backoff.next(BROKEN) is not None
    backoff.reset(0)
    assert backoff.next(BROKEN) is None


def test_a_fatal_error_is_not_tried_again_and_raised_as_it_is() -> None:
    backoff = Backoff(4)
    error = RangeMismatch("another")
    assert backoff.next(error) is None
    assert backoff.final(error) is error


def test_a_spent_budget_is_told_with_its_cause() -> None:
    backoff = Backoff(1)
    error = BodyTruncated("cut", url="http://host/x?secret", range=(3, 9))
    backoff.next(error)
    assert backoff.next(error) is None
    final = backoff.final(error)
    assert isinstance(final, RetryExhausted)
    assert (final.__cause__, final.attempt, final.range, final.url) == (error, 2, (3, 9), "http://host/x?…")


def test_what_the_server_asks_for_counts_up_to_a_minute() -> None:
    backoff = Backoff(4, random=lambda: 0.0)
    asked = [HttpStatus(status=503, retry_after=seconds) for seconds in (0.0, 20.0, 5000.0)]
    assert [backoff.next(error) for error in asked] == [0.125, 20.0, 60.0]


def test_jitter_keeps_a_crowd_from_coming_back_at_once() -> None:
    delays = sorted(filter(None, (Backoff(1).next(BROKEN) for _ in range(100))))
    assert max(b - a for a, b in pairwise(delays)) < 0.06
    assert delays[-1] - delays[0] > 0.05


# ── options ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "wrong",
    [
        {"connect": 0},
        {"headers": -1},
        {"idle": float("inf")},
        {"idle": float("nan")},
        {"idle": "5"},
        {"connect": None},
        {"total": 0},
        {"min_rate": -1},
        {"retries": -1},
        {"retries": 1.5},
        {"redirects": True},
        {"connections": 0},
        {"max_resource_bytes": 0},
        {"tls": "yes"},
        {"proxy": "socks5://host"},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong) -> None:
    [name] = wrong
    with pytest.raises(ValueError, match=name):
        HttpOptions(**wrong)


def test_the_defaults_are_those_of_the_interface() -> None:
    options = HttpOptions()
    assert (options.connect, options.headers, options.idle, options.total, options.min_rate) == (10, 10, 15, None, None)
    assert (options.retries, options.redirects, options.connections) == (4, 5, 6)
    assert (options.proxy, options.tls, options.allow_private, options.allow_downgrade) == (None, None, None, False)


def test_options_do_not_show_the_proxys_password() -> None:
    options = HttpOptions(proxy="http://me:secret@proxy:8080", tls=ssl.create_default_context())
    assert "secret" not in repr(options)
