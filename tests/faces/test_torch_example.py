"""The PyTorch example, with the real base class where torch is installed and a stand-in elsewhere."""

import importlib.util
import io
import random
import sys
import types
import wave
from dataclasses import dataclass

import numpy as np
import pytest

from kithara.cli.origin import Origin

RATE = 8_000


def wav_of(samples):
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(RATE)
        wav.writeframes(samples)
    return file.getvalue()


@dataclass
class Worker:
    id: int
    num_workers: int


@pytest.fixture
def example(root, monkeypatch):
    """The example as a module; `example.get_worker_info` can be set."""
    if importlib.util.find_spec("torch") is None:
        data = types.ModuleType("torch.utils.data")
        data.IterableDataset = type("IterableDataset", (), {})
        data.get_worker_info = lambda: None
        for name, module in (("torch", types.ModuleType("torch")), ("torch.utils", types.ModuleType("torch.utils"))):
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setitem(sys.modules, "torch.utils.data", data)
    spec = importlib.util.spec_from_file_location("torch_excerpts", root / "examples" / "torch_excerpts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def samples():
    return {f"{n}.wav": np.random.default_rng(n).integers(-9_000, 9_000, 40_000 + n, dtype="int16") for n in range(6)}


@pytest.fixture
def origin(samples):
    with Origin() as origin:
        for name, values in samples.items():
            origin.serve(name, wav_of(values.tobytes()))
        yield origin


def test_every_excerpt_is_a_piece_of_its_file(example, origin, samples, cache):
    urls = [origin.url(name) for name in samples]
    excerpts = list(example.Excerpts(urls, seconds=0.25, count=3, store=cache))
    assert 18 == len(excerpts)
    assert {(1, RATE // 4)} == {excerpt.shape for excerpt in excerpts}
    whole = b"".join(values.tobytes() for values in samples.values())
    assert all((excerpt * 32768).astype("int16").tobytes() in whole for excerpt in excerpts)


def test_of_a_long_file_only_the_pieces_are_fetched(example, origin, cache):
    origin.serve("long.wav", wav_of(random.Random(1).randbytes(4_000_000)))
    assert 2 == len(list(example.Excerpts([origin.url("long.wav")], seconds=0.25, count=2, store=cache)))
    assert origin.sent < 400_000


def test_workers_part_the_files_among_them(example, origin, samples, cache, monkeypatch):
    dataset = example.Excerpts([origin.url(name) for name in samples], seconds=0.25, store=cache)
    counts = []
    for number in range(4):
        monkeypatch.setattr(example, "get_worker_info", lambda number=number: Worker(number, 4))
        counts.append(len(list(dataset)))
    assert 6 == sum(counts)
    assert max(counts) == 2


def test_the_same_seed_draws_the_same_and_another_epoch_draws_anew(example, origin, samples, cache):
    urls = [origin.url(name) for name in samples]
    first, second = (example.Excerpts(urls, seconds=0.25, seed=5, store=cache) for _ in range(2))
    drawn = [excerpt.tobytes() for excerpt in first]
    assert drawn == [excerpt.tobytes() for excerpt in second]
    assert drawn != [excerpt.tobytes() for excerpt in second]


def test_excerpts_come_in_the_rate_asked_for(example, origin, cache):
    [excerpt] = example.Excerpts([origin.url("0.wav")], seconds=0.5, rate=16_000, store=cache)
    assert (1, 8_000) == excerpt.shape


def test_a_file_shorter_than_an_excerpt_is_left_out(example, origin, cache):
    assert [] == list(example.Excerpts([origin.url("0.wav")], seconds=6.0, store=cache))
