"""The same scenarios through three stock clients: pymilvus, its asynchronous client, and the Node
client. Their results must be the same, and right.

A scenario is a file in `tests/scenarios`: phases, each with a change of the lake and steps. A step
says what to `do`; `where` says in Python what its filter says; `fails` is a part of the message
with which it must be refused. Every client runs a phase over a collection of its own before the next
phase begins. The results are plain data: rows as objects, hits as objects with a `score`, lists of
hits for each query, lists of rows for each page.
"""

import asyncio
import contextlib
import json
import math
import os
import pathlib
import subprocess

import numpy as np
import pytest
from pymilvus import AsyncMilvusClient, DataType

import helpers
import products
import scenario_runner
from test_hybrid import fused, normal

TESTS = pathlib.Path(__file__).parent.parent
SCENARIOS = sorted((TESTS / "scenarios").glob("*.json"))
NODE_TIMEOUT_S = 300
WHOLE_NUMBERS = {"id", "small", "medium", "number", "tags", "total_rows", "indexed_rows"}
WHOLE_NUMBERS |= {"pending_index_rows", "progress"}


# --- the scenario, made ready for the clients -----------------------------------------------------


def fields():
    """The fields of the lake as plain data."""
    described = []
    for name, field in products.FIELDS.items():
        data_type, options = field if isinstance(field, tuple) else (field, {})
        options = dict(options)
        if "element_type" in options:
            options["element_type"] = options["element_type"].name
        if data_type == DataType.VARCHAR:
            options.setdefault("max_length", 1024)
        described.append({"name": name, "type": data_type.name, **options})
    return described


def resolved(step):
    """A step with the vectors and borders that its seed stands for."""
    step = dict(step)
    if "seed" in step:
        field = step["field"]
        vectors = products.queries(field, step.get("count", 1), step["seed"])
        step["vectors"] = [
            products.packed(vector).hex() if field == "bits" else vector.tolist()
            for vector in vectors
        ]
    if "within" in step:
        step["range"] = borders(step)
    if "parts" in step:
        step["parts"] = [resolved(part) for part in step["parts"]]
    return step


def borders(step):
    """A range from one row to another of those sorted by distance, between the rows."""
    query = products.queries(step["field"], 1, step["seed"])[0]
    truth = [score for score, _ in products.scored(step["field"], query, products.ALL[:480])]
    near, far = ((truth[at] + truth[at + 1]) / 2 for at in step["within"])
    return {"radius": far, "range_filter": near}


# --- the clients ----------------------------------------------------------------------------------


def run_python(server, scenario, _folder):
    with contextlib.closing(server.client()) as client:
        results = scenario_runner.run_sync(client, scenario)
        server.clients.remove(client)
    return results


def run_asynchronous(server, scenario, _folder):
    async def run():
        client = AsyncMilvusClient(
            f"http://127.0.0.1:{server.port}", timeout=helpers.CALL_TIMEOUT_S, dedicated=True
        )
        try:
            return await scenario_runner.run_async(client, scenario)
        finally:
            await client.close()

    return asyncio.run(run())


def run_node(server, scenario, folder):
    """The client of another language, in a process of its own."""
    scenario = {**scenario, "address": f"127.0.0.1:{server.port}"}
    request, answer = folder / "scenario.json", folder / "results.json"
    request.write_text(json.dumps(scenario))
    answer.unlink(missing_ok=True)
    for variable in ("PANDION_NODE_BIN", "PANDION_NODE_CLIENT"):
        if not os.environ.get(variable):
            pytest.exit(f"{variable} is not set", returncode=2)
    command = [helpers.binary("PANDION_NODE_BIN"), TESTS / "node" / "run_scenario.mjs"]
    done = subprocess.run(
        [*command, request, answer], capture_output=True, text=True, timeout=NODE_TIMEOUT_S
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [alike(result) for result in json.loads(answer.read_text())]


def alike(value, name=""):
    """A result of the Node client as the others have it: it makes texts of long integers, and lists
    of numbers of the bytes of a vector."""
    if isinstance(value, dict):
        return {key: alike(part, key) for key, part in value.items()}
    if name == "bits" and isinstance(value, list):
        return bytes(value).hex()
    if isinstance(value, list):
        return [alike(part, name) for part in value]
    is_whole = name in WHOLE_NUMBERS or name.startswith(("count(", "sum(", "min(", "max("))
    if isinstance(value, str) and is_whole:
        return int(value)
    return value


CLIENTS = {"python": run_python, "async": run_asynchronous, "node": run_node}


# --- what the results must be ---------------------------------------------------------------------


def matching(step, rows):
    where = step.get("where", "True")
    condition = eval(f"lambda v: {where}", {"products": products})  # noqa: S307
    return products.matching(condition, rows)


def cell(row, field):
    """A value of a row as it stands in a result."""
    value = row[field]
    if isinstance(value, np.ndarray):
        return products.packed(value).hex() if field == "bits" else value.tolist()
    return value


def project(rows, output):
    return [{field: cell(row, field) for field in output} for row in rows]


def check_count(result, step, rows):
    assert result == len(matching(step, rows))


def check_query(result, step, rows):
    rows = matching(step, rows)
    if "aggregate" in step:
        check_aggregates(result, step, rows)
        return
    for field, way in reversed(step.get("order_by", [])):
        rows = sorted(rows, key=lambda row: row[field], reverse=way == "desc")
    start = step.get("offset", 0)
    end = start + step.get("limit", len(rows))
    assert result == project(rows[start:end], step["output"])


def check_aggregates(result, step, rows):
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in step["aggregate"]), []).append(row)
    found = {tuple(row[column] for column in step["aggregate"]): row for row in result}
    assert len(found) == len(result)
    assert set(found) == set(groups)
    for key, group in groups.items():
        for name in step["output"]:
            if "(" in name:
                assert found[key][name] == pytest.approx(aggregate(name, group)), (key, name)


def aggregate(name, rows):
    function, column = name.removesuffix(")").split("(")
    if column == "*":
        return len(rows)
    values = [row[column] for row in rows if row[column] is not None]
    if function == "avg":
        return sum(values) / len(values)
    return {"count": len, "sum": sum, "min": min, "max": max}[function](values)


def check_get(result, step, rows):
    chosen = [row for row in rows if row["id"] in step["ids"]]
    assert sorted(result, key=lambda row: row["id"]) == project(chosen, step["output"])


def check_hits(hits, expected, step):
    """Hits against pairs of score and row: scores in order, the values of each hit's own row."""
    for hit in hits:
        row = products.ALL[hit["id"]]
        assert {key: hit[key] for key in step["output"]} == project([row], step["output"])[0]
    products.check_hits([{"score": hit["score"], "entity": hit} for hit in hits], expected, "score")


def check_search(result, step, rows):
    field, rows = step["field"], matching(step, rows)
    if "ids" in step:
        queries = [products.ALL[number][field] for number in step["ids"]]
    else:
        queries = products.queries(field, step.get("count", 1), step["seed"])
    assert len(result) == len(queries)
    for hits, query in zip(result, queries, strict=True):
        expected = window(products.scored(field, query, rows), step)
        if "group_size" in step:
            # Which group comes first is not documented: the hits are compared as one sorted list.
            hits = sorted(hits, key=lambda hit: hit["score"])
            expected.sort(key=lambda pair: pair[0])
        check_hits(hits, expected, step)


def window(pairs, step):
    if "range" in step:
        low, high = sorted(step["range"].values())
        pairs = [pair for pair in pairs if low <= pair[0] <= high]
    if "group_by" in step:
        groups = {}
        for pair in pairs:
            groups.setdefault(pair[1][step["group_by"]], []).append(pair)
        chosen = list(groups.values())[: step["limit"]]
        return [pair for group in chosen for pair in group[: step.get("group_size", 1)]]
    start = step.get("offset", 0)
    pairs = pairs[start : start + step["limit"]]
    for field, way in reversed(step.get("order_by", [])):
        pairs.sort(key=lambda pair: pair[1][field], reverse=way == "desc")
    return pairs


def check_hybrid(result, step, rows):
    lists = []
    for part in step["parts"]:
        query = products.queries(part["field"], 1, part["seed"])[0]
        lists.append(products.scored(part["field"], query, matching(part, rows))[: part["limit"]])
    params = step["ranker"]["params"]
    if step["ranker"]["strategy"] == "rrf":
        expected = fused(lists, lambda _, place, __: 1 / (params["k"] + place))
    else:
        names = [part["field"] for part in step["parts"]]
        expected = fused(
            lists, lambda at, _, score: params["weights"][at] * normal(names[at], score)
        )
    start = step.get("offset", 0)
    check_hits(result[0], expected[start : start + step["limit"]], step)
    own = {row["id"]: score for score, row in expected}
    assert all(math.isclose(hit["score"], own[hit["id"]], rel_tol=1e-4) for hit in result[0])


def check_query_iterator(result, step, rows):
    expected = project(matching(step, rows)[: step.get("limit")], step["output"])
    assert [row for page in result for row in page] == expected
    assert all(len(page) == step["batch_size"] for page in result[:-1])


def check_search_iterator(result, step, rows):
    query = products.queries(step["field"], 1, step["seed"])[0]
    expected = products.scored(step["field"], query, matching(step, rows))[: step.get("limit")]
    check_hits([hit for page in result for hit in page], expected, step)


def check_describe_index(result, step, rows):
    if step.get("gone"):
        assert result is None
        return
    assert result is not None and result["index_name"] == step["name"]
    assert result["total_rows"] == result["indexed_rows"] == len(rows)
    assert (result["pending_index_rows"], result["state"]) == (0, "Finished")


def check_refresh(result, _step, _rows):
    assert result == {"state": "RefreshCompleted", "progress": 100}


# Steps without a check of their own need only be taken.
CHECKS = {
    name.removeprefix("check_"): check
    for name, check in globals().items()
    if name.startswith("check_") and name not in ("check_hits", "check_aggregates")
}


def check(results, steps, rows):
    """Checks the results of every client, and that they are the same. `rows` is what the lake holds
    when the phase ends, and what is served once a refresh of the phase has seen it."""
    served = rows[0]
    for number, step in enumerate(steps):
        at = f"step {number}: {json.dumps(step)[:300]}"
        if step["do"] == "refresh":
            served = rows[1]
        of_client = {client: in_order(step, result[number]) for client, result in results.items()}
        for client, result in of_client.items():
            if client == "async" and result is None and step["do"].endswith("_iterator"):
                continue
            if "fails" in step:
                assert step["fails"] in result["error"], f"{client}: {at}"
                continue
            assert not (isinstance(result, dict) and "error" in result), f"{client}: {result} {at}"
            if step["do"] in CHECKS:
                try:
                    CHECKS[step["do"]](result, resolved(step), served)
                except AssertionError as error:
                    raise AssertionError(f"{client}: {at}") from error
            assert result == of_client["python"], f"{client} and python differ: {at}"


def in_order(step, result):
    """Groups come in any order, so that only sorted they can be compared."""
    is_groups = step.get("aggregate") and isinstance(result, list)
    return sorted(result, key=json.dumps) if is_groups else result


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_scenario(server, lake, name, tmp_path, file):
    scenario = json.loads(file.read_text())
    served = []
    for phase in scenario["phases"]:
        getattr(products, phase["lake"])(lake)
        rows = products.ALL[: products.FIRST if phase["lake"] == "fill" else products.ROWS]
        ready = {
            "source": lake.source,
            "spec": lake.spec,
            "fields": fields(),
            "types": {member.name: int(member) for member in DataType},
            "steps": [resolved(step) for step in phase["steps"]],
        }
        results = {
            client: run(server, {**ready, "collection": f"{name}_{client}"}, tmp_path)
            for client, run in CLIENTS.items()
        }
        check(results, phase["steps"], (served, rows))
        served = rows


def test_every_step_is_known():
    """A scenario with a slip of the pen must not pass for one that was run."""
    keys = {
        "do", "field", "index_type", "metric_type", "params", "name", "gone", "fails", "filter",
        "where", "values", "output", "limit", "offset", "order_by", "aggregate", "ids", "count",
        "seed", "within", "group_by", "group_size", "strict", "parts", "ranker", "batch_size",
    }  # fmt: skip
    for file in SCENARIOS:
        for phase in json.loads(file.read_text())["phases"]:
            for step in phase["steps"]:
                assert step["do"] in scenario_runner.STEPS, step
                assert set(step) <= keys, step
                filtered = step.get("filter") and "fails" not in step
                assert not filtered or "where" in step, step
