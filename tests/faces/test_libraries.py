"""pandas, pyarrow, zarr and dask open what an origin serves through ``kithara::``."""

import io
import warnings

import numpy as np
import pytest
from support.libraries import need
from support.nginx import Nginx

from kithara.cli.origin import Origin

pytestmark = pytest.mark.usefixtures("fs")

ROWS = 20_000


@pytest.fixture(scope="module")
def table():
    return {"id": np.arange(ROWS), "level": np.random.default_rng(3).normal(size=ROWS)}


@pytest.fixture
def origin():
    with Origin() as origin:
        yield origin


def test_pandas_reads_a_csv(origin, table, cache):
    need("pandas")
    import pandas

    frame = pandas.DataFrame(table)
    origin.serve("table.csv", frame.to_csv(index=False).encode())
    url = "kithara::" + origin.url("table.csv")
    pandas.testing.assert_frame_equal(frame, pandas.read_csv(url, storage_options={"store": cache}))
    asked = origin.mark()
    pandas.testing.assert_frame_equal(frame, pandas.read_csv(url, storage_options={"store": cache}))
    assert [] == asked.requests


def test_pandas_reads_what_is_compressed_when_told_so(origin, table, cache):
    need("pandas")
    import pandas

    frame = pandas.DataFrame(table)
    packed = io.BytesIO()
    frame.to_csv(packed, index=False, compression="gzip")
    origin.serve("table.csv.gz", packed.getvalue())
    url = "kithara::" + origin.url("table.csv.gz")
    read = pandas.read_csv(url, compression="gzip", storage_options={"store": cache})  # a chain hides the suffix
    pandas.testing.assert_frame_equal(frame, read)


def test_pyarrow_reads_one_column_of_a_parquet_file_and_fetches_no_more(origin, table, fs):
    need("pyarrow")
    import pyarrow
    import pyarrow.parquet

    noise = np.random.default_rng(4)
    whole = pyarrow.table({**table, **{f"ballast{number}": noise.random(ROWS) for number in range(10)}})
    file = io.BytesIO()
    pyarrow.parquet.write_table(whole, file, row_group_size=ROWS // 2, compression="none")
    origin.serve("table.parquet", file.getvalue())
    url = origin.url("table.parquet")
    read = pyarrow.parquet.read_table(url, filesystem=fs, columns=["id"])
    assert table["id"].tolist() == read["id"].to_pylist()
    assert origin.sent < len(file.getvalue()) / 2


def test_pyarrow_reads_a_data_set_of_several_files(origin, table, fs):
    need("pyarrow")
    import pyarrow.dataset
    import pyarrow.parquet

    for part in range(3):
        file = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table({"id": table["id"] + part * ROWS}), file)
        origin.serve(f"part-{part}.parquet", file.getvalue())
    urls = [origin.url(f"part-{part}.parquet") for part in range(3)]
    assert list(range(3 * ROWS)) == pyarrow.dataset.dataset(urls, filesystem=fs).to_table()["id"].to_pylist()


@pytest.mark.needs("nginx")
def test_zarr_reads_a_slice_of_an_array_and_fetches_its_chunks_only(tmp_path, cache):
    need("zarr")
    import zarr

    values = np.arange(400 * 400, dtype="int32").reshape(400, 400)
    array = zarr.create_array(tmp_path / "tree" / "array", shape=values.shape, chunks=(100, 100), dtype="int32")
    array[:] = values
    with Nginx(tmp_path / "tree") as server:
        url = "kithara::" + server.url("array")
        read = zarr.open_array(url, mode="r", storage_options={"store": cache})
        assert np.array_equal(values[150:180, 150:180], read[150:180, 150:180])
        chunks = {request.path for request in server.requests(1) if "/c/" in request.path}
        assert {"/array/c/1/1"} == chunks


def test_dask_reads_lines_in_blocks(origin, cache):
    need("dask")
    import dask.bag

    lines = [f"{number:06d}" for number in range(ROWS)]
    origin.serve("lines.txt", "\n".join(lines).encode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        url = "kithara::" + origin.url("lines.txt")
        bag = dask.bag.read_text(url, blocksize=30_000, storage_options={"store": cache})
        assert bag.npartitions > 3
        assert lines == [line.rstrip("\n") for line in bag.compute(scheduler="threads")]
