"""Runs the steps of a scenario with one of the stock Python clients.

A scenario is translated to calls once, here; the synchronous and the asynchronous client then make
the same calls. `tests/node/run_scenario.mjs` does the same with the Node client. A result is plain
data that JSON can hold, in the form that `test_scenarios.py` describes.
"""

import asyncio
import time

from pymilvus import (
    AnnSearchRequest,
    DataType,
    MilvusClient,
    MilvusException,
    RRFRanker,
    WeightedRanker,
)

from helpers import CALL_TIMEOUT_S, PK, external_schema

PAUSE_S = 0.02
PAUSES_MAX = 3000
ALL_ROWS = 16384


class NotOffered(Exception):
    """The client has no such method."""


def run_sync(client, scenario):
    """The results of the steps, by the client that waits."""

    def drive(step):
        calls, answer = perform(step, scenario), None
        while True:
            try:
                method, arguments = calls.send(answer)
            except StopIteration as end:
                return end.value
            if method == "pause":
                time.sleep(PAUSE_S)
            else:
                answer = getattr(client, method)(**arguments)

    return [attempt(drive, step) for step in scenario["steps"]]


def attempt(drive, step):
    try:
        return drive(step)
    except MilvusException as error:
        return {"error": error.message}


async def run_async(client, scenario):
    """The results of the steps, by the client that is waited for. A step that this client has no
    method for has the result `None`."""

    async def drive(step):
        calls, answer = perform(step, scenario), None
        while True:
            try:
                method, arguments = calls.send(answer)
            except StopIteration as end:
                return end.value
            if method == "pause":
                await asyncio.sleep(PAUSE_S)
                continue
            if not hasattr(client, method):
                return None
            answer = await getattr(client, method)(**arguments)

    results = []
    for step in scenario["steps"]:
        try:
            results.append(await drive(step))
        except MilvusException as error:
            results.append({"error": error.message})
    return results


def perform(step, scenario):
    """Yields the calls of a step, takes their answers, and returns the result."""
    return STEPS[step["do"]](step, {"collection_name": scenario["collection"]}, scenario)


def create(_step, target, scenario):
    fields = {}
    for field in scenario["fields"]:
        options = {key: field[key] for key in ("dim", "max_length", "max_capacity") if key in field}
        if "element_type" in field:
            options["element_type"] = DataType[field["element_type"]]
        fields[field["name"]] = (DataType[field["type"]], options)
    schema = external_schema(scenario["source"], scenario["spec"], fields)
    yield "create_collection", {**target, "schema": schema, "timeout": CALL_TIMEOUT_S}
    return "created"


def index(step, target, _scenario):
    indexes = MilvusClient.prepare_index_params()
    options = {key: step[key] for key in ("metric_type", "params") if key in step}
    indexes.add_index(
        step["field"], step["index_type"], step.get("name", step["field"]), **options
    )
    yield "create_index", {**target, "index_params": indexes, "timeout": CALL_TIMEOUT_S}
    return "created"


def drop_index(step, target, _scenario):
    yield "drop_index", {**target, "index_name": step["name"], "timeout": CALL_TIMEOUT_S}
    return "dropped"


def describe_index(step, target, _scenario):
    arguments = {**target, "index_name": step["name"], "timeout": CALL_TIMEOUT_S}
    described = yield "describe_index", arguments
    if described is None:
        return None
    keys = ["field_name", "index_name", "index_type", "total_rows", "indexed_rows"]
    return {key: described[key] for key in [*keys, "pending_index_rows", "state"]}


def refresh(_step, target, _scenario):
    job_id = yield "refresh_external_collection", {**target, "timeout": CALL_TIMEOUT_S}
    for _ in range(PAUSES_MAX):
        job = yield "get_refresh_external_collection_progress", {"job_id": job_id}
        if job.state in ("RefreshCompleted", "RefreshFailed"):
            return {"state": job.state, "progress": job.progress}
        yield "pause", {}
    return {"state": job.state, "progress": job.progress}


def load(_step, target, _scenario):
    yield "load_collection", {**target, "timeout": CALL_TIMEOUT_S}
    return "loaded"


def count(step, target, _scenario):
    arguments = {**target, "filter": step["filter"], "output_fields": ["count(*)"]}
    rows = yield "query", {**arguments, "timeout": CALL_TIMEOUT_S}
    return rows[0]["count(*)"]


def query(step, target, _scenario):
    arguments = {**target, "filter": step["filter"], "output_fields": step["output"]}
    if "values" in step:
        arguments["filter_params"] = step["values"]
    if "order_by" in step:
        arguments["order_by_fields"] = [f"{field}:{way}" for field, way in step["order_by"]]
    if step.get("aggregate"):
        arguments["group_by_fields"] = step["aggregate"]
    arguments.update({key: step[key] for key in ("limit", "offset") if key in step})
    rows = yield "query", {**arguments, "timeout": CALL_TIMEOUT_S}
    return [plain(row, step["output"]) for row in rows]


def get(step, target, _scenario):
    keys = yield from keys_of(step["ids"], target)
    arguments = {**target, "ids": keys, "output_fields": step["output"]}
    rows = yield "get", {**arguments, "timeout": CALL_TIMEOUT_S}
    return [plain(row, step["output"]) for row in rows]


def keys_of(ids, target):
    arguments = {**target, "filter": f"id in {ids}", "output_fields": ["id"]}
    rows = yield "query", {**arguments, "timeout": CALL_TIMEOUT_S}
    keys = {row["id"]: row[PK] for row in rows}
    return [keys[number] for number in ids]


def search(step, target, _scenario):
    arguments = {**target, "anns_field": step["field"], "limit": step["limit"]}
    arguments.update(filter=step.get("filter", ""), output_fields=step["output"])
    if "ids" in step:
        arguments["ids"] = yield from keys_of(step["ids"], target)
    else:
        arguments["data"] = data(step["vectors"])
    if "values" in step:
        arguments["filter_params"] = step["values"]
    if "range" in step:
        arguments["search_params"] = {"params": step["range"]}
    if "order_by" in step:
        arguments["order_by_fields"] = [
            {"field": field, "order": way} for field, way in step["order_by"]
        ]
    names = {"group_by": "group_by_field", "group_size": "group_size", "offset": "offset"}
    names["strict"] = "strict_group_size"
    arguments.update({names[key]: step[key] for key in names if key in step})
    answer = yield "search", {**arguments, "timeout": CALL_TIMEOUT_S}
    return [[hit_of(hit, step) for hit in hits] for hits in answer]


def hybrid(step, target, _scenario):
    requests = [
        AnnSearchRequest(
            data(part["vectors"]), part["field"], {}, part["limit"], filter=part.get("filter")
        )
        for part in step["parts"]
    ]
    params = dict(step["ranker"]["params"])
    if step["ranker"]["strategy"] == "rrf":
        ranker = RRFRanker(**params)
    else:
        ranker = WeightedRanker(*params.pop("weights"), **params)
    arguments = {**target, "reqs": requests, "ranker": ranker, "limit": step["limit"]}
    arguments.update(output_fields=step["output"], offset=step.get("offset", 0))
    answer = yield "hybrid_search", {**arguments, "timeout": CALL_TIMEOUT_S}
    return [[hit_of(hit, step) for hit in hits] for hits in answer]


def query_iterator(step, target, _scenario):
    arguments = {**target, "filter": step["filter"], "output_fields": step["output"]}
    arguments.update({key: step[key] for key in ("limit", "batch_size") if key in step})
    iterator = yield "query_iterator", arguments
    return [[plain(row, step["output"]) for row in page] for page in pages(iterator)]


def search_iterator(step, target, _scenario):
    arguments = {**target, "anns_field": step["field"], "data": data(step["vectors"])}
    arguments.update(filter=step.get("filter", ""), output_fields=step["output"])
    arguments.update({key: step[key] for key in ("limit", "batch_size") if key in step})
    iterator = yield "search_iterator", arguments
    return [[hit_of(hit, step) for hit in page] for page in pages(iterator)]


def pages(iterator):
    for _ in range(ALL_ROWS):
        page = iterator.next()
        if not page:
            break
        yield page
    iterator.close()


def data(vectors):
    """Query vectors: numbers, or the bytes of bits as text."""
    return [bytes.fromhex(vector) if isinstance(vector, str) else vector for vector in vectors]


def hit_of(hit, step):
    return {"score": hit["distance"], **plain(hit["entity"], step["output"])}


def plain(row, output):
    return {field: plain_value(row[field]) for field in output}


def plain_value(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple) or type(value).__name__ == "RepeatedScalarContainer":
        values = [plain_value(element) for element in value]
        # The client gives the bytes of a vector as a list of one.
        is_bytes = len(values) == 1 and isinstance(value[0], bytes)
        return values[0] if is_bytes else values
    return value


STEPS = {
    step.__name__: step
    for step in (
        create, index, drop_index, describe_index, refresh, load, count, query, get, search, hybrid,
        query_iterator, search_iterator,
    )
}  # fmt: skip
