"""Identity of assets and resources, and their names on disk."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kithara.assets import AssetId, ResourceKey
from kithara.assets.keys import NAME_LIMIT, canonical_url, encode_component
from kithara.errors import InvalidKey

any_text = st.text(st.characters(codec=None), min_size=1, max_size=200)


@given(any_text)
def test_a_component_is_a_short_safe_name(text):
    name = encode_component(text)
    assert name.isascii()
    assert 0 < len(name) <= NAME_LIMIT
    assert name == unicodedata.normalize("NFC", name.casefold())
    assert not set(name) & set('/\\:*?"<>|\0 ')
    assert name not in (".", "..")
    assert not name.startswith((".", "_"))


@given(any_text, any_text)
def test_two_components_have_two_names(a, b):
    assert (a == b) == (encode_component(a) == encode_component(b))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("body", "body"),
        ("variant_0.m3u8", "variant_0.m3u8"),
        ("0001.m4s", "0001.m4s"),
        ("A.ts", "%41.ts"),
        ("..", "%2e%2e"),
        ("...", "%2e.%2e"),
        ("a.", "a%2e"),
        ("con", "%63on"),
        ("con.txt", "%63on.txt"),
        ("console", "console"),
        ("kithara.root", "%6bithara.root"),
        ("C:", "%43%3a"),
        ("a\0b", "a%00b"),
        ("..\\x", "%2e.%5cx"),
        ("_index", "%5findex"),
        ("body.part", "body%2epart"),
        ("body.part.meta", "body.part%2emeta"),
        ("é", "%c3%a9"),
        ("%41", "%2541"),
    ],
)
def test_the_name_of_a_component_is_pinned_since_caches_live_on(text, name):
    assert name == encode_component(text)


def test_a_cut_name_never_ends_inside_an_escape():
    for length in range(NAME_LIMIT - 4, NAME_LIMIT + 4):
        name = encode_component("x" * length + "é" * 10)
        head = name.partition("~")[0]
        assert head == "x" * min(length, NAME_LIMIT - 33) or set(head[-3:]) != set("%")
        assert not head.endswith(("%", "%c", "%a"))


@given(st.lists(st.one_of(any_text, st.sampled_from(["..", ".", "con", "a"])), min_size=1, max_size=5))
def test_no_key_leaves_the_root(parts):
    rel_path = "/".join(parts)
    try:
        key = ResourceKey("show", rel_path)
    except InvalidKey:
        assert "" in rel_path.split("/") or rel_path.count("/") >= 16
        return
    assert os.path.normpath(f"/cache/{key.path}") == f"/cache/{key.path}"
    assert len(rel_path.split("/")) + 1 == len(key.path.split("/"))


@pytest.mark.parametrize("rel_path", ["", "/abs", "a//b", "a/", "/".join("abcdefghijklmnopq")])
def test_a_path_that_names_no_file_is_refused(rel_path):
    with pytest.raises(InvalidKey):
        ResourceKey("show", rel_path)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Example.COM:80", "http://example.com/"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("https://example.com:8443/a", "https://example.com:8443/a"),
        ("https://u:p@example.com/a?token=x#f", "https://example.com/a"),
        ("http://h/a/./b/../c", "http://h/a/c"),
        ("http://h/../../a", "http://h/a"),
        ("http://h/a/..", "http://h/"),
        ("http://h/%7euser/%2fx%c3%a9", "http://h/~user/%2Fx%C3%A9"),
        ("http://h/é b", "http://h/%C3%A9%20b"),
        ("http://h/100%", "http://h/100%25"),
        ("http://[::1]:80/a", "http://[::1]/a"),
        ("http://example.com./a", "http://example.com/a"),
        ("http://bücher.example/a", "http://xn--bcher-kva.example/a"),
    ],
)
def test_one_representation_has_one_canonical_url(url, canonical):
    assert canonical == canonical_url(url)
    assert canonical == canonical_url(canonical)


@pytest.mark.parametrize(
    "url", ["", "song.mp3", "/a/b", "http://", "http://[::1", "http://h:port/", "file:///etc/passwd"]
)
def test_a_url_without_scheme_or_host_is_no_identity(url):
    with pytest.raises(InvalidKey):
        AssetId.from_url(url)


def test_query_and_fragment_are_no_part_of_the_identity_unless_declared():
    plain = AssetId.from_url("http://h/a")
    assert plain == AssetId.from_url("http://h/a?sig=1#t=3")
    assert plain == AssetId.from_url("http://h/a?sig=1", query=["id"])
    one = AssetId.from_url("http://h/a?id=1&sig=x", query=["id"])
    assert one == AssetId.from_url("http://h/a?sig=y&id=1", query=["id"])
    assert len({plain, one, AssetId.from_url("http://h/a?id=2", query=["id"])}) == 3
    assert AssetId.from_url("http://h/a?b=1&a=2", query="*") == AssetId.from_url("http://h/a?a=2&b=1", query="*")


def test_scheme_port_path_discriminator_and_credentials_tell_assets_apart():
    urls = ["http://h/a", "https://h/a", "http://h:81/a", "http://h/A", "http://h/a/", "http://u:p@h/a", "http://v@h/a"]
    ids = [AssetId.from_url(url) for url in urls]
    ids += [AssetId.from_url("http://h/a", discriminator=d) for d in ("x", "y", "")]
    ids += [AssetId.from_url("http://h/a", credentials=c) for c in ("x", "y")]
    assert len(ids) == len(set(ids))
    assert AssetId.from_url("http://u:p@h/a") == AssetId.from_url("http://h/a", credentials="u:p")


def test_nothing_secret_is_in_a_key():
    key = ResourceKey.from_url("https://user:hunter2@host/song.mp3?token=sesame")
    assert "hunter2" not in repr(key)
    assert "sesame" not in repr(key)
    assert key.label == "https://host/song.mp3?…"


def test_a_url_has_its_body_where_the_layout_says():
    key = ResourceKey.from_url("https://host/song.mp3")
    assert f"{AssetId.from_url('https://host/song.mp3')}/file/body" == key.path
    assert key == ResourceKey(key.asset_root, "file/body")


@pytest.mark.parametrize("name", ["..", ".", "_index", "_trash", "a/b", "A", "", "x.part", "con", "a" * 97, "é"])
def test_an_asset_id_is_only_ever_a_safe_name(name):
    with pytest.raises(InvalidKey):
        AssetId(name)


@given(any_text)
def test_any_text_names_an_asset(text):
    asset = AssetId.named(text)
    assert AssetId(str(asset)) == asset
    assert ResourceKey(text, "x") == ResourceKey(asset, "x")
