"""fsspec's own tests of `get` and of opening, over trees that nginx serves with its index pages."""

import hashlib
import shutil

import pytest
from support.libraries import need
from support.nginx import Nginx

need("fsspec")
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests, AbstractOpenTests  # noqa: E402

pytestmark = pytest.mark.needs("nginx")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Nginx(tmp_path_factory.mktemp("tree"), "autoindex on; etag on;") as server:
        yield server


class Served(AbstractFixtures):
    """The scenarios of fsspec's tests, made where the origin serves them instead of through the file system."""

    @pytest.fixture
    def fs(self, fs, server, monkeypatch):
        # One test makes its files itself; they too are made at the origin.
        monkeypatch.setattr(fs, "touch", lambda url: touch(server, url), raising=False)
        yield fs
        for left in server.root.iterdir():
            shutil.rmtree(left)

    @pytest.fixture
    def fs_path(self, server):
        return server.url("").rstrip("/")

    @pytest.fixture
    def fs_target(self, server):
        plant(server, {"target": b"data"})
        return server.url("target")

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, server):
        return plant(server, dict.fromkeys(("file1", "file2", *SUBDIR), b""))

    @pytest.fixture
    def fs_glob_edge_cases_files(self, server):
        both = [name.replace("subdir", f"subdir{n}") for n in (0, 1) for name in SUBDIR]
        return plant(server, dict.fromkeys(("file1", "file2", *both), b""))

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, server):
        return plant(server, {"subdir.txt": b"", "subdir/subfile.txt": b""})

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, server):
        digits = [str(digit).encode() for digit in range(10)]
        return plant(server, {f"{hashlib.md5(digit).hexdigest()}.txt": digit for digit in digits})


SUBDIR = ("subdir/subfile1", "subdir/subfile2", "subdir/nesteddir/nestedfile")


def plant(server, files):
    """Put *files* where the server serves them below ``source``; its URL."""
    for name, data in files.items():
        path = server.root / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return server.url("source")


def touch(server, url):
    path = server.root / url.removeprefix(server.url(""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


class TestGet(Served, AbstractGetTests):
    pass


class TestOpen(Served, AbstractOpenTests):
    def test_open_exclusive(self, fs, fs_target):
        """fsspec's test writes the file first; here it is there, and writing is refused in every mode."""
        with fs.open(fs_target.replace("target", "source/target"), "rb") as file:
            assert b"data" == file.read()
        for mode in ("wb", "xb"):
            with pytest.raises(OSError, match="does not write"):
                fs.open(fs_target, mode)
