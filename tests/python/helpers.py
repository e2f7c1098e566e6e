"""Processes, an S3 client, makers of lakes and collections, and oracles for the end-to-end tests.

Everything here acts from outside: it starts the real binaries and speaks to them over sockets. It
knows nothing of how the server keeps its data.
"""

import concurrent.futures
import contextlib
import datetime
import hashlib
import hmac
import http.client
import io
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymilvus import DataType, MilvusClient, MilvusException
from pymilvus.grpc_gen import common_pb2

PK = "__virtual_pk__"
# The name that the S3 server has for clients that put the bucket into the host name.
VIRTUAL_HOST_DOMAIN = "s3.localhost"
ACCESS_KEY = "pandion-test-key"
# Nothing but the catalogue may ever hold this text; tests look for it.
SECRET_KEY = "canary-7f3a91c5e2d84b06"
REGION = "us-east-1"
START_TIMEOUT_S = 30
REFRESH_TIMEOUT_S = 60
CALL_TIMEOUT_S = 30


# --- processes ------------------------------------------------------------------------------------


def binary(variable):
    """The path of a binary that the environment names."""
    path = os.environ.get(variable)
    if not path or not os.access(path, os.X_OK):
        pytest.exit(f"{variable} must name an executable, but is {path!r}", returncode=2)
    return path


def free_port():
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class S3Server:
    """The S3 server of the testkit, with one bucket, until `stop`."""

    def __init__(self, directory, tls=False, identities=None):
        self.bucket = "lake"
        self.ca_file = pathlib.Path(directory) / "ca.pem" if tls else None
        command = [binary("PANDION_S3_BIN"), "--port", "0", "--bucket", self.bucket]
        command += ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
        if tls:
            command += ["--tls", "--cert-out", str(self.ca_file)]
        if identities:
            file = pathlib.Path(directory) / "identities.json"
            file.write_text(json.dumps(identities))
            command += ["--identities", str(file)]
        # The server lives as long as its standard input is open.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.host = f"127.0.0.1:{self.port}"

    @property
    def ca_pem(self):
        return self.ca_file.read_text()

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def put(self, key, body):
        self._signed("PUT", key, body)

    def delete(self, key):
        self._signed("DELETE", key)

    def stats(self):
        """The requests that have reached the server since it started, by kind."""
        return json.loads(self._request("GET", "/_stats"))

    @contextlib.contextmanager
    def counted(self):
        """Yields a dictionary that, at the end of the block, holds what the block cost."""
        before, cost = self.stats(), {}
        yield cost
        after = self.stats()
        cost.update({name: after[name] - before[name] for name in before})

    @contextlib.contextmanager
    def faults(self, *rules):
        """Makes requests fail or wait, as the rules say, inside the block."""
        self._request("PUT", "/_faults", json.dumps(rules).encode())
        try:
            yield
        finally:
            self._request("PUT", "/_faults", b"[]")

    def _signed(self, method, key, body=b""):
        path = "/" + urllib.parse.quote(f"{self.bucket}/{key}")
        headers = signature_v4(method, self.host, path, body, datetime.datetime.now(datetime.UTC))
        return self._request(method, path, body, headers)

    def _request(self, method, path, body=None, headers=None):
        if self.ca_file:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            connection = http.client.HTTPSConnection(self.host, timeout=30, context=context)
        else:
            connection = http.client.HTTPConnection(self.host, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            text = answer.read()
        assert answer.status < 300, f"{method} {path}: {answer.status} {text[:300]}"
        return text


def signature_v4(method, host, path, body, now):
    """Headers that sign a request without a query as AWS Signature Version 4 for S3 demands."""
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    signed = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(signed)
    lines = "".join(f"{name}:{value}\n" for name, value in signed.items())
    canonical = "\n".join([method, path, "", lines, names, digest])
    scope = f"{day}/{REGION}/s3/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashed])
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, REGION, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    credential = f"Credential={ACCESS_KEY}/{scope}"
    authorization = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
    return {**signed, "Authorization": authorization}


class PandionServer:
    """A server process over a data directory; it can be killed and started again."""

    def __init__(self, directory, endpoints=(), local_roots=(), arguments=()):
        self.directory = pathlib.Path(directory)
        self.data_dir = self.directory / "data"
        self.log_file = self.directory / "server.log"
        self.arguments = list(arguments)
        for endpoint in endpoints:
            self.arguments += ["--allow-endpoint", endpoint]
        for root in local_roots:
            self.arguments += ["--local-root", str(root)]
        self.process = None
        self.clients = []

    def start(self, **environment):
        """Starts the process and waits until it is healthy. Every start takes fresh ports."""
        self.port, self.admin_port = free_port(), free_port()
        command = [binary("PANDION_BIN"), "serve", "--data-dir", str(self.data_dir)]
        command += ["--listen", f"127.0.0.1:{self.port}"]
        command += ["--admin-listen", f"127.0.0.1:{self.admin_port}", *self.arguments]
        # The variables of the tests are no settings of the server, and this machine is nobody to AWS.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PANDION_", "AWS_"))}
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **inherited,
                    "PANDION_LOG__LEVEL": "debug,h2=info",
                    # No resolver knows the names of buckets below this one.
                    "PANDION_TEST_HOSTS": f"{VIRTUAL_HOST_DOMAIN}=127.0.0.1",
                    **environment,
                },
            )
        wait_until(self._is_healthy, START_TIMEOUT_S, "the server did not become healthy")
        return self

    def client(self, **arguments):
        """A new stock client with a connection of its own."""
        arguments = {"dedicated": True, "timeout": CALL_TIMEOUT_S, **arguments}
        client = MilvusClient(f"http://127.0.0.1:{self.port}", **arguments)
        self.clients.append(client)
        return client

    def stop(self):
        self._end(signal.SIGTERM)

    def kill(self):
        """What a power cut does, as far as a process can notice it."""
        self._end(signal.SIGKILL)

    def wait_for_death(self):
        """Waits until the process has ended by itself and returns its exit status."""
        self._close_clients()
        return self.process.wait(REFRESH_TIMEOUT_S)

    def log(self):
        return self.log_file.read_text(errors="replace")

    def _end(self, with_signal):
        self._close_clients()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(with_signal)
            self.process.wait(20)

    def _close_clients(self):
        for client in self.clients:
            client.close()
        self.clients.clear()

    def _is_healthy(self):
        code = self.process.poll()
        assert code is None, f"the server ended with {code}:\n{self.log()[-4000:]}"
        try:
            url = f"http://127.0.0.1:{self.admin_port}/healthz"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


def wait_until(holds, timeout_s, what):
    """Polls until `holds` returns something true, and returns it."""
    deadline = time.monotonic() + timeout_s
    while True:
        if value := holds():
            return value
        assert time.monotonic() < deadline, f"{what} within {timeout_s} s"
        time.sleep(0.02)


class Listener:
    """A port that takes connections and counts them, to show that nobody came."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.connections += 1
                connection.close()

    def close(self):
        self.socket.close()


# --- lakes ----------------------------------------------------------------------------------------


def parquet(table, **options):
    """The bytes of a table as one Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


class S3Lake:
    """A prefix in the bucket of an S3 server, as the source of a collection."""

    def __init__(self, server, prefix, scheme="s3", virtual_host=False):
        self.server = server
        self.prefix = prefix
        self.virtual_host = virtual_host
        host = f"{VIRTUAL_HOST_DOMAIN}:{server.port}" if virtual_host else server.host
        self.source = f"{scheme}://{host}/{server.bucket}/{prefix}/"

    @property
    def spec(self):
        return self.spec_with()

    def spec_with(self, **changes):
        """The specification with some `extfs` keys changed; `None` removes a key."""
        extfs = {
            "access_key_id": ACCESS_KEY,
            "access_key_value": SECRET_KEY,
            "region": REGION,
            "cloud_provider": "minio",
            "use_ssl": "true" if self.server.ca_file else "false",
        }
        if self.server.ca_file:
            extfs["ssl_ca_cert"] = self.server.ca_pem
        if self.virtual_host:
            extfs["use_virtual_host"] = "true"
        extfs.update(changes)
        extfs = {key: value for key, value in extfs.items() if value is not None}
        return json.dumps({"format": "parquet", "extfs": extfs})

    def put(self, name, table, **options):
        self.put_bytes(name, parquet(table, **options))

    def put_bytes(self, name, body):
        self.server.put(f"{self.prefix}/{name}", body)

    def delete(self, name):
        self.server.delete(f"{self.prefix}/{name}")


class LocalLake:
    """A folder, as the source of a collection."""

    spec = json.dumps({"format": "parquet"})

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.source = f"file://{self.folder}/"

    def put(self, name, table, **options):
        self.put_bytes(name, parquet(table, **options))

    def put_bytes(self, name, body):
        # A reader sees the old file or the new one, never a part of one.
        part = self.folder / f".{name}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(body)
        part.rename(self.folder / name)

    def delete(self, name):
        (self.folder / name).unlink()


def vectors(rows, dim, seed):
    """Random vectors, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


def fixed_size_lists(matrix):
    """A matrix as an Arrow column of fixed-size lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])


def rows_table(first, count, dim=8, seed=None, **columns):
    """A table with the columns `id`, counted from `first`, `embedding`, and those given."""
    matrix = vectors(count, dim, first if seed is None else seed)
    table = {"id": pa.array(np.arange(first, first + count)), "embedding": fixed_size_lists(matrix)}
    return pa.table({**table, **columns})


# --- collections ----------------------------------------------------------------------------------

ROW_FIELDS = {"id": DataType.INT64, "embedding": (DataType.FLOAT_VECTOR, {"dim": 8})}


def external_schema(source, spec, fields, **arguments):
    """A schema of an external collection. `fields` maps a name to a type, or to a type and the
    arguments of the field; a field is mapped to the column of its name unless it says otherwise."""
    schema = MilvusClient.create_schema(external_source=source, external_spec=spec, **arguments)
    for name, field in fields.items():
        data_type, options = field if isinstance(field, tuple) else (field, {})
        options = {"external_field": name, **options}
        if data_type == DataType.VARCHAR:
            options.setdefault("max_length", 1024)
        schema.add_field(name, data_type, **options)
    return schema


def create(client, name, lake, fields=None, indexes=None, **arguments):
    """Creates an external collection and its indexes: `indexes` maps a field to its metric, or to
    `None` for a scalar field."""
    schema = external_schema(lake.source, lake.spec, fields or ROW_FIELDS)
    client.create_collection(name, schema=schema, timeout=CALL_TIMEOUT_S, **arguments)
    create_indexes(client, name, {"embedding": "L2"} if indexes is None else indexes)


def create_indexes(client, name, indexes):
    """The client sleeps half a second in each call, so that several are made at once."""

    def make(field, metric):
        parameters = client.prepare_index_params()
        options = {"metric_type": metric} if metric else {}
        parameters.add_index(field_name=field, index_type="AUTOINDEX", **options)
        client.create_index(name, parameters, timeout=CALL_TIMEOUT_S)

    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as pool:
        for made in [pool.submit(make, field, metric) for field, metric in indexes.items()]:
            made.result()


def finish(client, job_id):
    """Waits for a refresh job and returns its last state."""

    def ended():
        job = client.get_refresh_external_collection_progress(job_id, timeout=CALL_TIMEOUT_S)
        assert 0 <= job.progress <= 100
        return job if job.state in ("RefreshCompleted", "RefreshFailed") else None

    return wait_until(ended, REFRESH_TIMEOUT_S, f"job {job_id} did not end")


def refresh(client, name, **override):
    """Refreshes, and fails the test unless the refresh completes."""
    job_id = client.refresh_external_collection(name, timeout=CALL_TIMEOUT_S, **override)
    job = finish(client, job_id)
    assert job.state == "RefreshCompleted", job.reason
    assert job.progress == 100
    return job


def failed_refresh(client, name, **override):
    """Refreshes, fails the test unless the refresh fails, and returns the reason."""
    job_id = client.refresh_external_collection(name, timeout=CALL_TIMEOUT_S, **override)
    job = finish(client, job_id)
    assert job.state == "RefreshFailed"
    assert job.reason
    return job.reason


def make(client, name, lake, fields=None, indexes=None):
    """A collection that is created, indexed, refreshed and loaded."""
    create(client, name, lake, fields, indexes)
    refresh(client, name)
    client.load_collection(name, timeout=CALL_TIMEOUT_S)


def error_of(call, *arguments, **options):
    """The error that a call of the client must raise."""
    with pytest.raises(MilvusException) as caught:
        call(*arguments, **{"timeout": CALL_TIMEOUT_S, **options})
    return caught.value


def count(client, name, expression=""):
    """Rows that match, as the server counts them."""
    rows = client.query(name, filter=expression, output_fields=["count(*)"], timeout=CALL_TIMEOUT_S)
    return rows[0]["count(*)"]


def rows_of(client, name, fields=("id",), expression=f"{PK} > 0", **options):
    """All matching rows, as a list of dictionaries."""
    options = {"limit": 16384, "timeout": CALL_TIMEOUT_S, **options}
    return list(client.query(name, filter=expression, output_fields=list(fields), **options))


def ids_of(client, name, expression=f"{PK} > 0"):
    """The column `id` of all matching rows, in the order of the answer."""
    return [row["id"] for row in rows_of(client, name, expression=expression)]


def search(client, name, data, field="embedding", limit=10, output=("id",), **options):
    """One list of hits for each query vector."""
    return client.search(
        name,
        data=data,
        anns_field=field,
        limit=limit,
        output_fields=list(output),
        timeout=CALL_TIMEOUT_S,
        **options,
    )


@contextlib.contextmanager
def watched(client, method, **parameters):
    """Keeps the answers of one method inside the block, as they come over the wire; `parameters` are
    added to requests of the method Query."""
    stub = client._get_connection()._stub
    call, answers = getattr(stub, method), []

    def watching(request, **options):
        for key, value in parameters.items():
            request.query_params.append(common_pb2.KeyValuePair(key=key, value=value))
        answers.append(call(request, **options))
        return answers[-1]

    setattr(stub, method, watching)
    try:
        yield answers
    finally:
        setattr(stub, method, call)


# --- oracles --------------------------------------------------------------------------------------

LARGER_IS_NEARER = {"IP", "COSINE"}


def scores(metric, base, queries):
    """The scores of every query (rows) against every base vector (columns), by definition.

    L2 is squared. The bit metrics take arrays of bits.
    """
    base, queries = np.asarray(base, np.float64), np.asarray(queries, np.float64)
    if metric == "L2":
        return ((queries[:, None, :] - base[None, :, :]) ** 2).sum(axis=2)
    products = queries @ base.T
    if metric == "IP":
        return products
    if metric == "COSINE":
        lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(base, axis=1)[None, :]
        return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    ones_of_queries, ones_of_base = queries.sum(axis=1)[:, None], base.sum(axis=1)[None, :]
    if metric == "HAMMING":
        return ones_of_queries + ones_of_base - 2 * products
    assert metric == "JACCARD"
    union = ones_of_queries + ones_of_base - products
    return 1 - np.divide(products, union, out=np.ones_like(products), where=union > 0)


def check_exact(answer, metric, base, queries, limit, ids=None, offset=0, tolerance=1e-4):
    """Checks that an answer holds exactly the nearest rows, with their true scores.

    `ids[i]` is the value of the column `id` of the row with vector `base[i]`; by default `i`. Rows
    at the same distance may come in any order, so distances are compared, and each hit with the
    distance of the row it names.
    """
    ids = np.arange(len(base)) if ids is None else np.asarray(ids)
    position = {int(value): index for index, value in enumerate(ids)}
    truth = scores(metric, base, queries)
    assert len(answer) == len(queries)
    for hits, row in zip(answer, truth, strict=True):
        order = np.sort(row)[::-1] if metric in LARGER_IS_NEARER else np.sort(row)
        expected = order[offset : offset + limit]
        found = [hit["distance"] for hit in hits]
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
        named = [int(hit["entity"]["id"]) for hit in hits]
        assert len(set(named)) == len(named), "a row came twice"
        own = [row[position[value]] for value in named]
        np.testing.assert_allclose(found, own, rtol=tolerance, atol=tolerance)


def vector_bytes(value):
    """A vector of an answer as bytes: float vectors come as numbers, the others as bytes."""
    if value is None or isinstance(value, bytes):
        return value
    if len(value) == 1 and isinstance(value[0], bytes):
        return value[0]
    return np.asarray(value, np.float32).tobytes()
