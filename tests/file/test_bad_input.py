"""What cannot be opened: one typed error that names the place and what to do, and nothing left behind."""

import hashlib
import os
import random

import pytest
from support.faultserver import FaultServer, chunk, finish, head, last_chunk, redirect, send, stall, until
from support.nginx import Nginx
from support.waiting import eventually

import kithara
from kithara.cli.origin import Origin
from kithara.errors import (
    CacheCorrupt,
    ConnectFailed,
    EmptyBody,
    HttpStatus,
    InvalidSeek,
    KitharaError,
    LocalFileError,
    NetTimeout,
    OfflineMiss,
    PolicyDenied,
    UnknownLength,
)

SECRET = "s3cret"
DATA = random.Random(2).randbytes(100_000)


@pytest.fixture
def empty(store):
    """The cache, which must still be empty at the end."""
    yield store
    assert [] == store.assets()
    assert [] == [path for path in os.listdir(store.root) if not path.startswith(("_", "kithara."))]


def failure(what, error, **options):
    with pytest.raises(KitharaError) as caught:
        kithara.open(what, **options)
    assert error is type(caught.value), repr(caught.value)
    text = f"{caught.value} {caught.value!r} {caught.value.url}"
    assert SECRET not in text
    return caught.value


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"timeout": 0}, ValueError, "timeout=0"),
        ({"timeout": -1}, ValueError, "timeout=-1"),
        ({"options": kithara.HttpOptions()}, TypeError, "expected FileOptions"),
        ({"headers": [("X-Client", "1")]}, TypeError, "headers are a list: expected a mapping"),
        ({"http": kithara.FileOptions()}, TypeError, "expected HttpOptions or an HttpClient"),
    ],
)
def test_options_of_the_wrong_kind_are_named(options, kind, words, empty):
    with pytest.raises(kind, match=words):
        kithara.open("http://127.0.0.1:1/a", store=empty, **options)


def test_a_path_of_bytes_is_refused_by_name(empty):
    with pytest.raises(TypeError, match="expected a URL or a path of text"):
        kithara.open(b"/tmp/a.flac", store=empty)


@pytest.mark.parametrize("scheme", ["ftp", "rtsp", "data", "javascript"])
def test_another_scheme_is_refused(scheme, empty):
    error = failure(f"{scheme}://host/a?token={SECRET}", PolicyDenied, store=empty)
    assert f"{scheme}://host/a" in str(error)
    assert "http" in str(error)


@pytest.mark.parametrize("authority", ["[::1", "[host]"])
def test_what_is_no_url_is_refused(authority, empty):
    failure(f"http://{authority}/a?token={SECRET}", PolicyDenied, store=empty)


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451])
def test_a_refusal_is_told_at_once(status, empty):
    with FaultServer() as server:
        server.on("/a", head(status, length=0))
        url = server.url("/a", userinfo=f"joe:{SECRET}@") + f"?token={SECRET}"
        error = failure(url, HttpStatus, store=empty)
        assert status == error.status
        assert server.url("/a") in error.url
        assert 1 == len(server.requests)


@pytest.mark.needs("nginx")
def test_an_empty_body_is_no_file(empty, tmp_path):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "empty.mp3").touch()
    with Nginx(tmp_path / "www") as server:
        error = failure(server.url("empty.mp3"), EmptyBody, store=empty)
        assert "body" in str(error)


def test_an_empty_body_without_a_length_is_no_file(empty):
    with FaultServer() as server:
        server.on("/a", head(200), finish())
        with pytest.raises(KitharaError), kithara.open(server.url("/a"), store=empty) as reader:
            reader.read()


@pytest.mark.needs("nginx")
def test_a_directory_of_a_server_is_no_file(empty, tmp_path):
    (tmp_path / "www" / "music").mkdir(parents=True)
    with Nginx(tmp_path / "www") as server:
        assert 403 == failure(server.url("music/"), HttpStatus, store=empty).status


def test_html_is_given_byte_for_byte_but_is_no_media(store):
    page = b"<!doctype html><title>Log in</title>" * 50
    with FaultServer() as server:
        server.on("/a.mp3", head(200, {"Content-Type": "text/html"}, length=len(page)), send(page))
        with kithara.open(server.url("/a.mp3"), store=store) as reader:
            assert page == reader.read()


def test_nobody_listens(empty):
    with FaultServer() as server:
        url = server.url("/a")
    http = kithara.HttpOptions(retries=0)
    assert isinstance(failure(url, kithara.errors.RetryExhausted, store=empty, http=http).__cause__, ConnectFailed)


def test_nobody_answers_in_time(empty):
    with FaultServer() as server:
        server.on("/a", stall())
        assert "total" == failure(server.url("/a"), NetTimeout, store=empty, timeout=0.2).kind


def test_offline_and_not_in_the_cache(empty):
    with Origin({"a": DATA}) as origin:
        error = failure(f"{origin.url('a')}?token={SECRET}", OfflineMiss, store=empty, offline=True)
        assert isinstance(error, FileNotFoundError)
        assert [] == origin.requests


def test_offline_a_partial_plays_as_far_as_it_goes(store):
    options = kithara.FileOptions(complete=False)
    with Origin({"a": DATA}) as origin:
        with kithara.open(origin.url("a"), store=store, options=options) as reader:
            reader.read(10_000)
        asked = origin.mark()
        with kithara.open(origin.url("a"), store=store, offline=True) as reader:
            assert DATA[:10_000] == reader.read(10_000)
            reader.seek(90_000)
            with pytest.raises(OfflineMiss):
                reader.read(1)
        assert [] == asked.requests


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "device"])
def test_a_local_path_that_is_no_file(kind, tmp_path):
    path = {"missing": tmp_path / "none.mp3", "device": "/dev/null"}.get(kind, tmp_path / "thing")
    if kind == "directory":
        path.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
    error = failure(path, LocalFileError)
    assert str(path) in str(error)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_local_file_without_permission(tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(DATA)
    path.chmod(0)
    failure(path, LocalFileError)


def test_a_file_url_on_another_host_is_refused():
    failure("file://elsewhere/etc/passwd", PolicyDenied)


def test_a_redirect_to_a_file_is_refused(empty):
    with FaultServer() as server:
        server.on("/a", redirect("file:///etc/passwd"))
        with pytest.raises(KitharaError):
            kithara.open(server.url("/a"), store=empty)


def test_seeking_from_an_end_that_is_not_known(store):
    with FaultServer() as server:
        server.on("/a", head(200, chunked=True), chunk(b"0123456789"), until("go"), last_chunk())
        with kithara.open(server.url("/a"), store=store) as reader:
            assert b"01" == reader.read(2)
            assert (None, False) == (reader.length, reader.seekable())
            with pytest.raises(UnknownLength):
                reader.seek(0, 2)
            server.open_gate("go")
            assert b"23456789" == reader.read()
            assert (10, True) == (reader.length, reader.seekable())
            assert 10 == reader.seek(0, 2)


def test_a_negative_position_is_no_place(store):
    with Origin({"a": DATA}) as origin, kithara.open(origin.url("a"), store=store) as reader:
        with pytest.raises(InvalidSeek):
            reader.seek(-1)
        with pytest.raises(InvalidSeek):
            reader.seek(-len(DATA) - 1, 2)
        assert 0 == reader.tell()


def test_a_wrong_digest_is_an_error_at_the_end_and_what_came_before_it_can_be_read(store):
    options = kithara.FileOptions(sha256="0" * 64)
    with Origin({"a": DATA}) as origin:
        with kithara.open(origin.url("a"), store=store, options=options) as reader:
            with pytest.raises(CacheCorrupt):
                reader.read()
            assert "failed" == reader.status
            reader.seek(0)
            assert DATA[:-1] == reader.read(len(DATA) - 1)
        assert [] == store.assets()


def test_the_right_digest_is_kept_and_a_hit_is_checked_against_it(store):
    options = kithara.FileOptions(sha256=hashlib.sha256(DATA).hexdigest().upper())
    with Origin({"a": DATA}) as origin:
        with kithara.open(origin.url("a"), store=store, options=options) as reader:
            reader.read()
            eventually(lambda: "committed" == reader.status)
        fetched = origin.mark()
        with kithara.open(origin.url("a"), store=store, options=options) as reader:
            assert DATA == reader.read()
        assert [] == fetched.requests


def test_without_waiting_errors_come_with_the_first_read(store):
    with FaultServer() as server:
        server.on("/a", head(404, length=0))
        with kithara.open(server.url("/a"), store=store, blocking=False) as reader:
            with pytest.raises(HttpStatus):
                reader.wait_range(0, 1, 5)
            with pytest.raises(HttpStatus):
                reader.read(1)


def test_without_waiting_nothing_here_is_none_and_the_end_is_empty(store):
    with Origin({"a": DATA}, delay=0.05) as origin:
        with kithara.open(origin.url("a"), store=store, blocking=False) as reader:
            assert reader.read(10) is None
            assert kithara.WaitOutcome.READY == reader.wait_range(0, len(DATA), 5)
            assert DATA == reader.read(len(DATA) + 1)
            assert b"" == reader.read(1)
            assert len(DATA) == reader.length
