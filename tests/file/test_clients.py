"""Programs nobody here wrote read `kithara.open(url)` while it downloads, over links that deliver crumbs."""

import io
import random
import shutil
import tarfile
import wave
import zipfile

import av
import mutagen
import numpy as np
import pytest
import soundfile
from support import corpus

import kithara
from kithara.cli.origin import Origin

CHANCE = random.Random(8)
TEXT = "".join(f"line {number} żółw\n" for number in range(8000))


@pytest.fixture(params=[None, 17], ids=["whole", "crumbs"])
def serve(request, store):
    """`serve(name, data)`: a reader on *data*, which is still on its way."""
    with Origin(pieces=request.param, delay=0.001) as origin:

        def serve(name, data):
            origin.serve(name, data)
            return kithara.open(origin.url(name), store=store)

        yield serve


@pytest.mark.parametrize(
    "name", ["mp3-cbr", "m4a-faststart", "m4a-moov-last", "flac", "ogg-vorbis", "ogg-opus", "wav-16"]
)
def test_av_decodes_every_frame(serve, name):
    entry = corpus.file(name)

    def frames(file):
        with av.open(file) as container:
            return sum(frame.samples for frame in container.decode(audio=0))

    with open(entry.path, "rb") as file:
        expected = frames(file)
    with serve(entry.path.name, entry.path) as reader:
        assert expected == frames(reader)


@pytest.mark.parametrize("name", ["flac", "wav-16", "ogg-vorbis"])
def test_soundfile_reads_every_sample(serve, name):
    entry = corpus.file(name)
    expected, rate = soundfile.read(entry.path)
    with serve(entry.path.name, entry.path) as reader, soundfile.SoundFile(reader) as sound:
        assert rate == sound.samplerate
        assert np.array_equal(expected, sound.read())


@pytest.mark.parametrize("name", ["mp3-cbr", "m4a-moov-last", "flac", "ogg-vorbis", "ogg-opus"])
def test_mutagen_tells_the_length(serve, name):
    entry = corpus.file(name)
    expected = mutagen.File(entry.path)
    with serve(entry.path.name, entry.path) as reader:
        found = mutagen.File(fileobj=reader)
        assert type(expected) is type(found)
        assert expected.info.length == found.info.length


def test_zipfile_reads_a_member(serve):
    packed = io.BytesIO()
    members = {f"{number}.bin": CHANCE.randbytes(40_000) for number in range(5)}
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with serve("a.zip", packed.getvalue()) as reader, zipfile.ZipFile(reader) as archive:
        assert archive.testzip() is None
        assert members == {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("mode", ["r:*", "r|*"])
def test_tarfile_reads_members(serve, mode):
    packed = io.BytesIO()
    members = {f"{number}.bin": CHANCE.randbytes(50_001) for number in range(4)}
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with serve("a.tgz", packed.getvalue()) as reader, tarfile.open(fileobj=reader, mode=mode) as archive:
        assert members == {info.name: archive.extractfile(info).read() for info in archive}


def test_wave_reads_all_frames(serve):
    entry = corpus.file("wav-16")
    with wave.open(str(entry.path)) as local:
        expected = local.readframes(local.getnframes())
    with serve("a.wav", entry.path) as reader, wave.open(reader) as sound:
        assert expected == sound.readframes(sound.getnframes())


def test_numpy_loads_an_array(serve):
    packed = io.BytesIO()
    array = np.random.default_rng(3).standard_normal((300, 200))
    np.save(packed, array)
    with serve("a.npy", packed.getvalue()) as reader:
        assert np.array_equal(array, np.load(reader))


def test_a_buffered_reader_over_it_gives_the_bytes(serve):
    data = CHANCE.randbytes(200_000)
    with serve("a", data) as reader, io.BufferedReader(reader, 10_000) as buffered:
        assert data[:5] == buffered.peek(5)[:5]
        buffered.seek(150_000)
        assert data[150_000:150_100] == buffered.read(100)
        buffered.seek(0)
        assert data == buffered.read()


def test_a_text_wrapper_over_it_gives_the_lines(serve):
    reader = serve("a.txt", TEXT.encode())
    with io.TextIOWrapper(io.BufferedReader(reader), encoding="utf-8") as text:
        assert TEXT.splitlines(keepends=True) == list(text)


def test_copyfileobj_copies_all(serve):
    data = CHANCE.randbytes(500_000)
    target = io.BytesIO()
    with serve("a", data) as reader:
        shutil.copyfileobj(reader, target, 1000)
    assert data == target.getvalue()
