"""Keys and decryption: RFC 8216, section 5.2, and nothing leaks."""

import copy
import pickle
import random

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from kithara.errors import DecryptFailed, KeyInvalid, Unsupported
from kithara.hls.keys import ContentKey, KeyContext, require_supported, segment_decryptor, segment_iv
from kithara.hls.model import Key, MediaSegment

SECRET = bytes(range(16))
IV = bytes(range(100, 116))


def encrypt(plain, secret=SECRET, iv=IV, *, padded=True):
    if padded:
        count = 16 - len(plain) % 16
        plain += bytes([count]) * count
    cipher = Cipher(AES(secret), CBC(iv)).encryptor()
    return cipher.update(plain) + cipher.finalize()


def pieces(data, seed):
    chance = random.Random(seed)
    position = 0
    while position < len(data):
        step = chance.choice([0, 1, 7, 15, 16, 17, 31, 64, 1000])
        yield data[position : position + step]
        position += step


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 32, 188 * 50, 10_000])
def test_a_segment_decrypts_however_it_is_cut(size, seed):
    plain = random.Random(size).randbytes(size)
    decryptor = ContentKey(SECRET).decryptor(IV)
    got = b"".join(decryptor.update(piece) for piece in pieces(encrypt(plain), seed))
    assert plain == got + decryptor.finish()


def test_bytes_come_as_they_arrive_but_for_the_last_block():
    plain = bytes(200)
    cipher = encrypt(plain)
    decryptor = ContentKey(SECRET).decryptor(IV)
    assert [0] + [16] * 12 == [len(decryptor.update(cipher[n : n + 16])) for n in range(0, 208, 16)]


FAULTS = {
    "empty": b"",
    "half a block": encrypt(b"x" * 40)[:-8],
    "less than a block": b"\0" * 15,
    "no padding": encrypt(b"\0" * 32, padded=False),
    "padding of 17": encrypt(b"\0" * 31 + b"\x11", padded=False),
    "padding that differs": encrypt(b"\0" * 28 + b"\1\2\3\4", padded=False),
    "wrong key": encrypt(b"x" * 100, secret=bytes(16)),
}


@pytest.mark.parametrize("cipher", FAULTS.values(), ids=FAULTS)
def test_whatever_is_wrong_the_failure_says_the_same(cipher):
    decryptor = ContentKey(SECRET).decryptor(IV, url="https://host/a.ts?token=secret")
    decryptor.update(cipher)
    with pytest.raises(DecryptFailed) as failure:
        decryptor.finish()
    assert "the segment does not decrypt with its key; https://host/a.ts?…" == str(failure.value)


@pytest.mark.parametrize("secret", [b"", bytes(15), bytes(17), b"<html>not found</html>", b"00" * 16])
def test_a_key_is_sixteen_bytes(secret):
    with pytest.raises(KeyInvalid, match=f"{len(secret)} bytes") as failure:
        ContentKey(secret, url="https://host/k?t=1")
    assert "https://host/k?…" == failure.value.url


def test_an_explicit_iv_stands_and_the_sequence_number_is_128_bits():
    key = Key(method="AES-128", uri="k")
    assert IV == segment_iv(Key(method="AES-128", uri="k", iv=IV), 7)
    assert bytes(15) + b"\x07" == segment_iv(key, 7)
    assert bytes(8) + b"\xff" * 8 == segment_iv(key, (1 << 64) - 1)
    assert bytes(7) + b"\x01" + bytes(8) == segment_iv(key, 1 << 64)


def test_a_segment_brings_its_own_iv():
    segment = MediaSegment("https://h/a", 4.0, 258, None, Key(method="AES-128", uri="k"))
    decryptor = segment_decryptor(ContentKey(SECRET), segment)
    decryptor.update(encrypt(b"hello", iv=bytes(14) + b"\x01\x02"))
    assert b"hello" == decryptor.finish()


@pytest.mark.parametrize(
    "key",
    [
        Key(method="SAMPLE-AES", uri="k"),
        Key(method="AES-256", uri="k"),
        Key(method="AES-128", uri="k", keyformat="com.example.drm"),
    ],
)
def test_other_encryption_is_unsupported_and_never_clear(key):
    with pytest.raises(Unsupported, match=key.method):
        require_supported(key)
    with pytest.raises(Unsupported):
        segment_decryptor(ContentKey(SECRET), MediaSegment("https://h/a", 4.0, 0, None, key))


def test_a_key_shows_nothing_of_itself():
    content = ContentKey(b"sixteen letters!")
    context = KeyContext(url="https://h/k?token=secret", playlist_url="https://h/l?token=secret", iv=IV)
    shown = f"{content!r} {content} {context!r} {Key(method='AES-128', uri='k', iv=IV)!r}"
    assert "sixteen" not in shown
    assert "secret" not in shown
    assert b"sixteen letters!" == content.reveal()


@pytest.mark.parametrize("duplicate", [copy.copy, pickle.dumps])
def test_a_key_is_not_pickled(duplicate):
    with pytest.raises(TypeError, match="pickled"):
        duplicate(ContentKey(SECRET))


def test_equal_keys_are_equal():
    assert ContentKey(SECRET) == ContentKey(bytearray(SECRET))
    assert ContentKey(SECRET) != ContentKey(bytes(16))
    assert hash(ContentKey(SECRET)) == hash(ContentKey(SECRET))
