"""An Iceberg REST catalog on the loopback, for writers and readers alike: the protocol in front of
one of PyIceberg's own catalogs. It asks for tokens, hands out credentials for storage that the test
makes, and fails on demand.

It has the requests that PyIceberg and the server make, and no others: no views, no transactions
over several tables, no server-side planning.
"""

import collections
import http.server
import json
import threading
import typing
import urllib.parse
import uuid

from pydantic import TypeAdapter
from pyiceberg.catalog.rest import CreateTableRequest
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import TableRequirement, TableUpdate

REQUIREMENTS = TypeAdapter(tuple[TableRequirement, ...])
UPDATES = TypeAdapter(tuple[TableUpdate, ...])
# What the protocol calls the errors of the catalog behind it.
ERRORS = {
    NoSuchNamespaceError: (404, "NoSuchNamespaceException"),
    NoSuchTableError: (404, "NoSuchTableException"),
    NamespaceAlreadyExistsError: (409, "AlreadyExistsException"),
    TableAlreadyExistsError: (409, "AlreadyExistsException"),
    CommitFailedException: (409, "CommitFailedException"),
}
LEVELS = "\x1f"


class Named(typing.NamedTuple):
    """As much of a table as a commit of the catalog behind needs."""

    identifier: tuple[str, ...]

    def name(self):
        return self.identifier


class RestCatalog:
    """The catalog, until `stop`. Its attributes may be changed while it runs."""

    def __init__(self, behind, token=None, credential=None, prefix="", vend=None):
        self.behind, self.token, self.credential = behind, token, credential
        # What stands between `/v1` and the rest, told to clients by the configuration.
        self.prefix = prefix
        # Makes the credentials for a location, as the protocol's properties.
        self.vend = vend
        self.token_seconds = 3600
        self.requests = collections.Counter()
        # Answers given in place of the next ones, as status and headers; tokens are given always.
        self.failures = collections.deque()
        self._tokens, self._lock = set(), threading.Lock()
        handler = type("Handler", (_Handler,), {"catalog": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def host(self):
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def uri(self):
        return f"http://{self.host}"

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def end_tokens(self):
        """No token that was handed out so far is good any more."""
        self._tokens.clear()

    def answer(self, method, path, query, headers, body):
        """Status, headers and JSON of the answer to a request."""
        parts = [urllib.parse.unquote(part) for part in path.strip("/").split("/")]
        if parts[:1] != ["v1"]:
            return error(404, "NotFoundException", path)
        rest = parts[1:]
        if self.prefix and rest[:1] == [self.prefix]:
            rest = rest[1:]
        elif self.prefix and rest[:1] not in (["config"], ["oauth"]):
            return error(404, "NotFoundException", f"no prefix in {path}")
        kind = f"{method} {shape(rest)}"
        self.requests[kind] += 1
        if kind == "POST oauth/tokens":
            return self._token(body)
        if self.failures:
            status, extra = self.failures.popleft()
            return status, extra, error(status, "Made", "on demand")[2]
        if not self._is_authorized(headers):
            return error(401, "NotAuthorizedException", "no token, or one that is not good")
        try:
            with self._lock:
                return self._dispatch(kind, rest, headers, body)
        except tuple(ERRORS) as problem:
            return error(*ERRORS[type(problem)], problem)

    def _token(self, body):
        form = dict(urllib.parse.parse_qsl(body.decode()))
        given = f"{form.get('client_id')}:{form.get('client_secret')}"
        if form.get("grant_type") != "client_credentials" or given != self.credential:
            return 401, {}, {"error": "invalid_client", "error_description": "not known"}
        token = f"token-{uuid.uuid4().hex}"
        self._tokens.add(token)
        answer = {"access_token": token, "token_type": "bearer", "expires_in": self.token_seconds}
        return 200, {}, answer

    def _is_authorized(self, headers):
        given = headers.get("Authorization", "").removeprefix("Bearer ")
        if self.credential:
            return given in self._tokens
        return self.token in (None, given)

    def _dispatch(self, kind, rest, headers, body):
        namespace = tuple(rest[1].split(LEVELS)) if len(rest) > 1 else ()
        identifier = (*namespace, rest[3]) if len(rest) > 3 else None
        delegates = "vended-credentials" in headers.get("X-Iceberg-Access-Delegation", "")
        match kind:
            case "GET config":
                return 200, {}, {"defaults": {}, "overrides": self._overrides()}
            case "POST namespaces":
                made = json.loads(body)
                self.behind.create_namespace(tuple(made["namespace"]))
                return 200, {}, {"namespace": made["namespace"], "properties": {}}
            case "GET namespaces/*" | "HEAD namespaces/*":
                properties = self.behind.load_namespace_properties(namespace)
                return 200, {}, {"namespace": list(namespace), "properties": properties}
            case "POST namespaces/*/tables":
                return 200, {}, self._described(self._create(namespace, body), delegates)
            case "GET namespaces/*/tables/*" | "HEAD namespaces/*/tables/*":
                self._check_namespace(namespace)
                return 200, {}, self._described(self.behind.load_table(identifier), delegates)
            case "GET namespaces/*/tables/*/credentials":
                table = self.behind.load_table(identifier)
                return 200, {}, {"storage-credentials": self._vended(table.location())}
            case "POST namespaces/*/tables/*":
                return 200, {}, self._commit(identifier, json.loads(body))
            case "DELETE namespaces/*/tables/*":
                self.behind.drop_table(identifier)
                return 204, {}, None
        return error(404, "NotFoundException", kind)

    def _overrides(self):
        return {"prefix": self.prefix} if self.prefix else {}

    def _check_namespace(self, namespace):
        if not self.behind.namespace_exists(namespace):
            raise NoSuchNamespaceError(f"Namespace does not exist: {namespace}")

    def _create(self, namespace, body):
        request = CreateTableRequest.model_validate(
            {"location": None, "partition-spec": None, "write-order": None, **json.loads(body)}
        )
        return self.behind.create_table(
            (*namespace, request.name),
            request.table_schema,
            location=request.location,
            partition_spec=request.partition_spec or UNPARTITIONED_PARTITION_SPEC,
            sort_order=request.write_order or UNSORTED_SORT_ORDER,
            properties=request.properties,
        )

    def _commit(self, identifier, changes):
        committed = self.behind.commit_table(
            Named(identifier),
            REQUIREMENTS.validate_python(changes["requirements"]),
            UPDATES.validate_python(changes["updates"]),
        )
        return {
            "metadata-location": committed.metadata_location,
            "metadata": json.loads(committed.metadata.model_dump_json()),
        }

    def _described(self, table, delegates):
        found = {
            "metadata-location": table.metadata_location,
            "metadata": json.loads(table.metadata.model_dump_json()),
            "config": {},
        }
        if delegates and self.vend:
            found["storage-credentials"] = self._vended(table.location())
        return found

    def _vended(self, location):
        return [{"prefix": location, "config": self.vend(location)}]


def shape(parts):
    """A path with stars for names: `namespaces/*/tables/*`."""
    named = [part if place % 2 == 0 or parts[0] != "namespaces" else "*" for place, part in
             enumerate(parts)]  # fmt: skip
    return "/".join(named)


def error(status, kind, message):
    return status, {}, {"error": {"message": str(message), "type": kind, "code": status}}


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection; `catalog` is set in a class for each catalog."""

    protocol_version = "HTTP/1.1"
    catalog = None

    def handle_any(self):
        address = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, document = self.catalog.answer(
            self.command, address.path, address.query, self.headers, body
        )
        text = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_POST = do_DELETE = handle_any

    def log_message(self, *_):
        """Tests look at the counters."""
