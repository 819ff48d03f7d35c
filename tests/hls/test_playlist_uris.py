"""References of a playlist: RFC 3986 resolution, and not a byte changed that may stay."""

import pytest

from kithara.hls.uri import UriBase, data_url_bytes

# RFC 3986, section 5.4: base http://a/b/c/d;p?q. References to other schemes than the web's are refused.
RFC_EXAMPLES = {
    "g": "http://a/b/c/g",
    "./g": "http://a/b/c/g",
    "g/": "http://a/b/c/g/",
    "/g": "http://a/g",
    "//g": "http://g",
    "?y": "http://a/b/c/d;p?y",
    "g?y": "http://a/b/c/g?y",
    "#s": "http://a/b/c/d;p?q#s",
    "g#s": "http://a/b/c/g#s",
    "g?y#s": "http://a/b/c/g?y#s",
    ";x": "http://a/b/c/;x",
    "g;x": "http://a/b/c/g;x",
    "g;x?y#s": "http://a/b/c/g;x?y#s",
    "": "http://a/b/c/d;p?q",
    ".": "http://a/b/c/",
    "./": "http://a/b/c/",
    "..": "http://a/b/",
    "../": "http://a/b/",
    "../g": "http://a/b/g",
    "../..": "http://a/",
    "../../": "http://a/",
    "../../g": "http://a/g",
    "../../../g": "http://a/g",
    "../../../../g": "http://a/g",
    "/./g": "http://a/g",
    "/../g": "http://a/g",
    "g.": "http://a/b/c/g.",
    ".g": "http://a/b/c/.g",
    "g..": "http://a/b/c/g..",
    "..g": "http://a/b/c/..g",
    "./../g": "http://a/b/g",
    "./g/.": "http://a/b/c/g/",
    "g/./h": "http://a/b/c/g/h",
    "g/../h": "http://a/b/c/h",
    "g;x=1/./y": "http://a/b/c/g;x=1/y",
    "g;x=1/../y": "http://a/b/c/y",
    "g?y/./x": "http://a/b/c/g?y/./x",
    "g?y/../x": "http://a/b/c/g?y/../x",
    "g#s/./x": "http://a/b/c/g#s/./x",
    "g#s/../x": "http://a/b/c/g#s/../x",
}


@pytest.mark.parametrize(("reference", "expected"), RFC_EXAMPLES.items())
def test_references_resolve_as_the_rfc_says(reference, expected):
    assert expected == UriBase("http://a/b/c/d;p?q").resolve(reference)


BYTE_EXACT = {
    "escaped slash": ("a%2Fb.ts?token=a%2Fb%3D%3D", "https://h/m/a%2Fb.ts?token=a%2Fb%3D%3D"),
    "plus and equals": ("a.ts?sig=x+y==", "https://h/m/a.ts?sig=x+y=="),
    "empty path segment": ("a//b.ts", "https://h/m/a//b.ts"),
    "empty query": ("a.ts?", "https://h/m/a.ts?"),
    "absolute with odd query": ("http://c.d:81/x?a=[1]|{2}", "http://c.d:81/x?a=[1]|{2}"),
    "lower-case escapes": ("a%2fb", "https://h/m/a%2fb"),
    "escape that is none": ("100%.ts", "https://h/m/100%.ts"),
    "absolute with a dot path": ("http://c/x/../y", "http://c/y"),
    "upper-case scheme": ("HTTPS://c/x", "https://c/x"),
    "user info": ("https://me:pw@c/x", "https://me:pw@c/x"),
    "IPv6 host": ("http://[::1]:80/x", "http://[::1]:80/x"),
    "inner blanks": ("my song.ts?q=a b", "https://h/m/my%20song.ts?q=a%20b"),
    "other letters": ("é/音.ts", "https://h/m/%C3%A9/%E9%9F%B3.ts"),
    "quotes and angles": ('a"<b>', "https://h/m/a%22%3Cb%3E"),
    "a colon in a later segment": ("./a:b", "https://h/m/a:b"),
    "digits before a colon": ("12:30.ts", "https://h/m/12:30.ts"),
    "path that climbs out": ("../../../etc/passwd", "https://h/etc/passwd"),
    "line of another network path": ("//evil/x", "https://evil/x"),
}


@pytest.mark.parametrize(("reference", "expected"), BYTE_EXACT.values(), ids=BYTE_EXACT)
def test_legal_bytes_stay_and_illegal_ones_are_escaped(reference, expected):
    assert expected == UriBase("https://h/m/list.m3u8?a=/b/c").resolve(reference)


def test_slashes_in_the_bases_query_are_no_path():
    assert "https://h/x.ts" == UriBase("https://h?dir=/a/b/").resolve("x.ts")


def test_a_dotted_base_is_straightened():
    assert "https://h/b/x.ts" == UriBase("https://h/a/../b/./list").resolve("x.ts")


def test_a_local_list_names_local_files_and_the_web():
    base = UriBase("file:///music/list.m3u8")
    assert ["file:///music/a.ts", "https://h/a.ts"] == [base.resolve("a.ts"), base.resolve("https://h/a.ts")]


def test_a_list_without_address_keeps_relative_references():
    assert "a/b.ts" == UriBase("").resolve("a/b.ts")


@pytest.mark.parametrize("reference", ["file:///x", "data:,x", "javascript:x", "ftp://h/x", "skd://x", "seg:1.ts"])
def test_other_schemes_are_refused(reference):
    with pytest.raises(ValueError, match="scheme"):
        UriBase("https://h/list").resolve(reference)


def test_data_urls_pass_only_where_they_are_allowed():
    assert "data:;base64,AA==" == UriBase("https://h/list").resolve("data:;base64,AA==", data=True)


@pytest.mark.parametrize("reference", ["a\r\nHost: x", "a\0", "http://h\r\n/x", "a\x7f", "\x01"])
def test_control_characters_are_refused(reference):
    with pytest.raises(ValueError, match="control"):
        UriBase("https://h/list").resolve(reference)


def test_separators_that_end_no_line_are_escaped():
    assert "https://h/a%0Bb%0Cc%1Cd%1Ee" == UriBase("https://h/list").resolve("a\x0bb\x0cc\x1cd\x1ee")


NO_HOST = ["http://", "http:///x", "//", "https:x", "http://a b/x", "http://a\\b/x", "http://[::1", "http://[x]/"]
NO_PORT = ["http://h:port/x", "http://h:65536/x", "//h:0/"]


@pytest.mark.parametrize("reference", NO_HOST + NO_PORT)
def test_a_web_address_needs_a_host(reference):
    with pytest.raises(ValueError, match="host"):
        UriBase("https://h/list").resolve(reference)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("data:;base64,AAEC", b"\0\1\2"),
        ("DATA:text/plain;BASE64,AAEC", b"\0\1\2"),
        ("data:,a%20b", b"a b"),
        ("data:,", b""),
    ],
)
def test_a_data_url_holds_its_bytes(url, expected):
    assert expected == data_url_bytes(url)


@pytest.mark.parametrize("url", ["data:;base64,A", "data:;base64,A*==", "data:AAAA", "http://h/,x"])
def test_a_data_url_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match=r"data URL|base64|padding|characters"):
        data_url_bytes(url)
