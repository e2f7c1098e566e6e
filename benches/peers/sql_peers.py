"""Answers SQL over the files of one lake in another system, one statement per line.

Reads statements as JSON lines `{"sql": ".."}` and writes one JSON line for each: the rows, the wall
clock and the CPU time of the process, or why there are none. The first line that it writes names the
version. The process stays, so that whatever the system keeps between statements is warm; when the
next statement comes is for the caller to say, so that systems can take turns on one machine.

    python sql_peers.py --peer duckdb|datafusion --lake DIR --threads N
"""

import argparse
import importlib.metadata
import json
import pathlib
import sys
import time


class DuckDb:
    """A view over the files; footers are kept between statements."""

    package = "duckdb"

    def __init__(self, files, threads):
        import duckdb

        self.db = duckdb.connect()
        self.db.execute(f"set threads = {threads}")
        self.db.execute("set parquet_metadata_cache = true")
        names = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
        self.db.execute(f"create view rows as select * from read_parquet([{names}])")

    def rows(self, sql):
        return self.db.execute(sql).fetchall()


class DataFusion:
    """A registered directory; footers are kept between statements by default."""

    package = "datafusion"

    def __init__(self, files, threads):
        import datafusion

        config = datafusion.SessionConfig().with_target_partitions(threads)
        self.context = datafusion.SessionContext(config)
        self.context.register_parquet("rows", str(files[0].parent))

    def rows(self, sql):
        rows = []
        for batch in self.context.sql(sql).collect():
            rows += zip(*(column.to_pylist() for column in batch.columns), strict=True)
        return rows


PEERS = {
    "duckdb": DuckDb,
    "datafusion": DataFusion,
}


def answer(peer, sql):
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        rows = peer.rows(sql)
    except Exception as error:  # Whatever a system raises is its answer.
        return {"error": f"{type(error).__name__}: {error}"}
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"rows": rows, "wall_s": wall, "cpu_s": cpu}


def say(value):
    print(json.dumps(value, default=str), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", choices=PEERS, required=True)
    parser.add_argument("--lake", type=pathlib.Path, required=True, help="directory of files")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    kind = PEERS[arguments.peer]
    try:
        peer = kind(sorted(arguments.lake.glob("*.parquet")), arguments.threads)
        say({"version": importlib.metadata.version(kind.package)})
    except Exception as error:  # An import that fails, above all.
        say({"error": f"{type(error).__name__}: {error}"})
        return
    for line in sys.stdin:
        say(answer(peer, json.loads(line)["sql"]))


if __name__ == "__main__":
    main()
