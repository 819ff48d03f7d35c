"""Sample kernels against numpy: every format into every dtype, planar and packed, at every channel count."""

from __future__ import annotations

import numpy as np
import pytest

from kithara._core.pcm import DTYPES, FORMATS, interleave, silence

TYPES = {"u8": "u1", "s16": "i2", "s24": "i4", "s32": "i4", "flt": "f4", "dbl": "f8"}


def samples(name: str, channels: int, frames: int) -> np.ndarray:
    chance = np.random.default_rng(1)
    if name == "u8":
        return chance.integers(0, 256, (frames, channels)).astype("u1")
    if name == "s16":
        return chance.integers(-32768, 32768, (frames, channels)).astype("i2")
    if name == "s24":
        return (chance.integers(-(1 << 23), 1 << 23, (frames, channels)) << 8).astype("i4")
    if name == "s32":
        return chance.integers(-(1 << 31), 1 << 31, (frames, channels)).astype("i4")
    return (chance.standard_normal((frames, channels)) * 0.7).astype(TYPES[name])


def expected(values: np.ndarray, name: str, dtype: str) -> np.ndarray:
    bits = {"u8": 8, "s16": 16, "s24": 32, "s32": 32}.get(name)
    if bits is None:
        wide = values.astype("f8")
        if dtype.startswith("float"):
            return wide.astype(dtype)
        full = 32768 if dtype == "int16" else 2147483648
        scaled = values * np.float32(full) if (name, dtype) == ("flt", "int16") else wide * full
        return np.clip(np.rint(scaled), -full, full - 1).astype(dtype)
    whole = values.astype("i8") - (128 if name == "u8" else 0)
    if dtype.startswith("float"):
        return (whole / 2.0 ** (bits - 1)).astype(dtype)
    target = 16 if dtype == "int16" else 32
    return (whole << (target - bits) if target >= bits else whole >> (bits - target)).astype(dtype)


def laid_out(values: np.ndarray, name: str, planar: bool) -> tuple[bytes, ...]:
    lanes = [values[:, channel] for channel in range(values.shape[1])] if planar else [values.reshape(-1)]
    if name == "s24":
        return tuple(lane.astype("<i4").view("u1").reshape(-1, 4)[:, 1:].tobytes() for lane in lanes)
    return tuple(lane.tobytes() for lane in lanes)


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("form", sorted(FORMATS))
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_samples_become_what_numpy_makes_of_them(form, dtype, channels):
    code, planar = FORMATS[form]
    name = form.removesuffix("p") if planar else form
    values = samples(name, channels, 137)
    out = np.full((150, channels), 7, dtype)
    interleave(laid_out(values, name, planar), code, planar, channels, 20, 117, out, 9, DTYPES[dtype])
    assert np.array_equal(expected(values, name, dtype)[20:], out[9:126])
    assert (out[:9] == 7).all()
    assert (out[126:] == 7).all()


@pytest.mark.parametrize(("value", "result"), [(2.0, 32767), (-2.0, -32768), (float("inf"), 32767), (float("nan"), 0)])
def test_what_is_too_loud_is_clipped(value, result):
    out = np.zeros((1, 1), "int16")
    interleave((np.float32(value).tobytes(),), *FORMATS["flt"], 1, 0, 1, out, 0, DTYPES["int16"])
    assert result == out[0, 0]


@pytest.mark.parametrize(("start", "frames", "at"), [(0, 11, 0), (1, 10, 0), (0, 10, 1), (-1, 1, 0), (0, -1, 0)])
def test_a_copy_past_either_buffer_is_refused(start, frames, at):
    out = np.zeros((10, 1), "float32")
    with pytest.raises(ValueError, match=r"needed|negative"):
        interleave((bytes(40),), *FORMATS["flt"], 1, start, frames, out, at, DTYPES["float32"])


def test_silence_zeroes_only_its_span():
    out = bytearray(b"\x01" * 10)
    silence(out, 2, 5)
    assert b"\x01\x01\0\0\0\x01\x01\x01\x01\x01" == bytes(out)
