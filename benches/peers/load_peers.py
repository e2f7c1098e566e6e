"""The time from "the files exist" to the first answer, in other systems.

Every peer reads the same Parquet files (columns `id` and `vec`), takes the rows over in the way that
its documentation shows for a first exact search, and answers one query. It runs in a process of its
own with its default number of threads; imports are done and an empty database is open before the
clock starts, as a server is started before its clock does. The files are in the page cache, and free
memory has been written to, so that nobody waits for a virtual machine's host. The wall clock and the CPU time of the
process are taken together, and every query of the truth is then checked, outside of the clock.

    python load_peers.py --lake DIR --truth FILE --out FILE [--repeats N] [--slow]
    python load_peers.py --lake DIR --truth FILE --peer NAME      one run of one peer
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

RUN_TIMEOUT_S = 900
# In times of the files' size.
MEMORY_READY = 3


def read(files):
    """The ids, and all vectors as one array of rows."""
    import numpy as np
    import pyarrow.parquet as pq

    table = pq.ParquetDataset(files).read(columns=["id", "vec"])
    # The pieces are joined once, as numbers without the lists round them.
    vectors = [piece.flatten().to_numpy(zero_copy_only=False) for piece in table["vec"].chunks]
    rows = np.concatenate(vectors).reshape(len(table), -1)
    return table["id"].to_numpy(), rows


class FaissFlat:
    """pyarrow into numpy into IndexFlatL2; the row numbers are looked up in the ids."""

    package, loads, slow = "faiss-cpu", True, False

    def __init__(self, folder, dim):
        import faiss
        import numpy as np
        import pyarrow.parquet  # noqa: F401

        self.faiss, self.np, self.dim = faiss, np, dim

    def make(self):
        return self.faiss.IndexFlatL2(self.dim)

    def load(self, files):
        self.ids, rows = read(files)
        self.index = self.make()
        self.index.add(rows)

    def search(self, query, k):
        _, rows = self.index.search(self.np.array([query], dtype="float32"), k)
        return [int(self.ids[row]) for row in rows[0]]


class FaissHnsw(FaissFlat):
    """The same into a graph with 32 links; built with faiss's own defaults."""

    slow = True

    def make(self):
        return self.faiss.IndexHNSWFlat(self.dim, 32)


class UsearchExact:
    """pyarrow into numpy, searched in place by usearch's exact search."""

    package, loads, slow = "usearch", True, False

    def __init__(self, folder, dim):
        import numpy as np
        import pyarrow.parquet  # noqa: F401
        import usearch.index

        self.usearch, self.np, self.dim = usearch.index, np, dim

    def load(self, files):
        self.ids, self.rows = read(files)

    def search(self, query, k):
        query = self.np.array([query], dtype="float32")
        metric = self.usearch.MetricKind.L2sq
        found = self.usearch.search(self.rows, query, k, metric, exact=True)
        return [int(self.ids[row]) for row in self.np.ravel(found.keys)]


class UsearchGraph(UsearchExact):
    """pyarrow into numpy into usearch's graph; built with its own defaults."""

    slow = True

    def load(self, files):
        ids, rows = read(files)
        self.index = self.usearch.Index(ndim=self.dim, metric="l2sq", dtype="f32")
        self.index.add(ids, rows)

    def search(self, query, k):
        found = self.index.search(self.np.array(query, dtype="float32"), k)
        return [int(key) for key in found.keys]


class LanceDb:
    """A table made from the files' record batches, searched without an index."""

    package, loads, slow = "lancedb", True, False

    def __init__(self, folder, dim):
        import lancedb
        import pyarrow as pa
        import pyarrow.dataset as ds

        self.pa, self.ds, self.dim = pa, ds, dim
        self.db = lancedb.connect(folder)

    def load(self, files):
        pa = self.pa
        # A vector column has a fixed size there; lists of any size are cast on their way.
        schema = pa.schema([("id", pa.int64()), ("vec", pa.list_(pa.float32(), self.dim))])
        scanner = self.ds.dataset(files).scanner(columns=["id", "vec"])
        batches = (
            pa.RecordBatch.from_arrays(
                [batch["id"], batch["vec"].cast(schema.field("vec").type)], schema=schema
            )
            for batch in scanner.to_batches()
        )
        self.table = self.db.create_table(
            "rows", pa.RecordBatchReader.from_batches(schema, batches), schema=schema
        )

    def search(self, query, k):
        found = self.table.search(query, vector_column_name="vec").distance_type("l2")
        return found.select(["id"]).limit(k).to_arrow()["id"].to_pylist()


class DuckDb:
    """A native table of fixed-size arrays, searched by its distance function."""

    package, loads, slow = "duckdb", True, False

    def __init__(self, folder, dim):
        import duckdb

        self.dim = dim
        self.db = duckdb.connect(os.path.join(folder, "rows.duckdb"))

    def load(self, files):
        self.rows = "rows"
        self.db.execute(
            f"create table rows as select id, vec::float[{self.dim}] as vec from read_parquet(?)",
            [files],
        )

    def search(self, query, k):
        distance = f"array_distance(vec, ?::float[{self.dim}])"
        found = self.db.execute(f"select id from {self.rows} order by {distance} limit {k}", [query])
        return [row[0] for row in found.fetchall()]


class DuckDbFiles(DuckDb):
    """The same query over the files themselves: nothing is loaded."""

    loads = False

    def load(self, files):
        names = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
        self.rows = (
            f"(select id, vec::float[{self.dim}] as vec from read_parquet([{names}]))"
        )


class MilvusLite:
    """Rows inserted through pymilvus into a FLAT collection of the embedded Milvus."""

    package, loads, slow = "milvus-lite", True, True
    batch_rows = 10_000

    def __init__(self, folder, dim):
        import pyarrow.dataset as ds
        from pymilvus import DataType, MilvusClient

        self.ds, self.dim = ds, dim
        self.client = MilvusClient(os.path.join(folder, "rows.db"))
        self.types = DataType

    def load(self, files):
        schema = self.client.create_schema(auto_id=False)
        schema.add_field("id", self.types.INT64, is_primary=True)
        schema.add_field("vec", self.types.FLOAT_VECTOR, dim=self.dim)
        index = self.client.prepare_index_params()
        index.add_index("vec", index_type="FLAT", metric_type="L2")
        self.client.create_collection("rows", schema=schema, index_params=index)
        scanner = self.ds.dataset(files).scanner(columns=["id", "vec"], batch_size=self.batch_rows)
        for batch in scanner.to_batches():
            vectors = batch["vec"].flatten().to_numpy().reshape(len(batch), -1)
            ids = batch["id"].to_pylist()
            rows = [{"id": id, "vec": vec} for id, vec in zip(ids, vectors, strict=True)]
            self.client.insert("rows", rows)
        self.client.load_collection("rows")

    def search(self, query, k):
        found = self.client.search("rows", [query], limit=k, anns_field="vec")
        return [hit["id"] for hit in found[0]]


PEERS = {
    "faiss_flat": FaissFlat,
    "usearch_exact": UsearchExact,
    "lancedb": LanceDb,
    "duckdb": DuckDb,
    "duckdb_files": DuckDbFiles,
    "faiss_hnsw32": FaissHnsw,
    "usearch": UsearchGraph,
    "milvus_lite": MilvusLite,
}


def cpu_seconds():
    """Of this process and the children that have ended."""
    return sum(os.times()[:4])


def peak_bytes():
    """The most memory that this process ever had."""
    # What getrusage says would count the process that started this one too.
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def run_one(name, lake, truth):
    """One run of one peer, in this process."""
    files = sorted(str(file) for file in lake.glob("*.parquet"))
    queries, expected, k = truth["queries"], truth["ids"], truth["k"]
    with tempfile.TemporaryDirectory() as folder:
        peer = PEERS[name](folder, len(queries[0]))
        wall, cpu = time.perf_counter(), cpu_seconds()
        peer.load(files)
        first = peer.search(queries[0], k)
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        peak = peak_bytes()
        answers = [first] + [peer.search(query, k) for query in queries[1:]]
    hits = sum(len(set(answer) & set(ids)) for answer, ids in zip(answers, expected, strict=True))
    recall = hits / sum(len(ids) for ids in expected)
    return {"wall_s": wall, "cpu_s": cpu, "recall": recall, "peak_bytes": peak}


def make_ready(lake):
    """Reads the files, and writes to some times as much memory before it is given back."""
    import numpy as np

    size = 0
    for file in lake.glob("*.parquet"):
        size += len(file.read_bytes())
    # numpy asks for the kind of pages that most of the peers' memory is made of.
    memory = np.ones(MEMORY_READY * size, dtype="uint8")
    del memory


def run_apart(name, arguments):
    """One run of one peer, in a process of its own; its numbers, or why there are none."""
    make_ready(arguments.lake)
    command = [sys.executable, __file__, "--peer", name]
    command += ["--lake", str(arguments.lake), "--truth", str(arguments.truth)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None, f"took more than {RUN_TIMEOUT_S} s"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return None, lines[-1]
    # Some peers print lines of their own.
    return json.loads(done.stdout.strip().splitlines()[-1]), None


def run_all(arguments):
    """Each peer some times, as a list of what the caller reads."""
    results = []
    for name, peer in PEERS.items():
        if peer.slow and not arguments.slow:
            continue
        runs, error = [], None
        for _ in range(1 if peer.slow else arguments.repeats):
            numbers, error = run_apart(name, arguments)
            if error:
                break
            runs.append(numbers)
        try:
            version = importlib.metadata.version(peer.package)
        except importlib.metadata.PackageNotFoundError:
            version = ""
        results.append(
            {
                "peer": name,
                "version": version,
                "loads": peer.loads,
                "wall_s": [run["wall_s"] for run in runs],
                "cpu_s": [run["cpu_s"] for run in runs],
                "recall": min((run["recall"] for run in runs), default=0.0),
                "peak_bytes": max((run["peak_bytes"] for run in runs), default=0),
                "error": error,
            }
        )
        print(f"{name}: {error or runs}", file=sys.stderr, flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lake", type=pathlib.Path, required=True, help="directory of files")
    parser.add_argument("--truth", type=pathlib.Path, required=True, help="queries and answers")
    parser.add_argument("--peer", choices=PEERS, help="only this peer, once, in this process")
    parser.add_argument("--out", type=pathlib.Path, help="file to write the numbers to")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--slow", action="store_true", help="also peers that take minutes")
    arguments = parser.parse_args()
    if arguments.peer:
        truth = json.loads(arguments.truth.read_text())
        print(json.dumps(run_one(arguments.peer, arguments.lake, truth)))
        return
    text = json.dumps(run_all(arguments), indent=1)
    if arguments.out:
        arguments.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
