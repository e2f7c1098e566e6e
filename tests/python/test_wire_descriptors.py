"""Compares Pandion's wire descriptors with those of the installed, unmodified pymilvus.

PANDION_DESCRIPTOR_SET names the file that
`cargo run -p pandion-proto --example descriptor_set -- FILE` writes. Pandion may leave out messages,
enums and fields; whatever it declares must be as published, and the service must have every method.
"""

import copy
import os
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from dump_descriptors import dump, files_of_set, published_files

SERVICE = "milvus.proto.milvus.MilvusService"


@pytest.fixture(scope="module")
def published():
    return dump(published_files())


@pytest.fixture(scope="module")
def files():
    path = os.environ.get("PANDION_DESCRIPTOR_SET")
    assert path, "PANDION_DESCRIPTOR_SET does not name a descriptor set"
    return files_of_set(Path(path).read_bytes())


def drift(ours, published):
    """Every difference that a client could notice, as sentences; none when the two agree."""
    found = []
    for name, fields in ours["messages"].items():
        theirs = published["messages"].get(name)
        if theirs is None:
            found.append(f"message {name} is not published")
            continue
        for field, facts in fields.items():
            if field not in theirs:
                found.append(f"field {name}.{field} is not published")
            elif facts != theirs[field]:
                found.append(f"field {name}.{field} is {facts}, published as {theirs[field]}")
    for name, values in ours["enums"].items():
        theirs = published["enums"].get(name)
        if values != theirs:
            found.append(f"enum {name} is {values}, published as {theirs}")
    methods = ours["services"].get(SERVICE, {})
    for method, facts in published["services"][SERVICE].items():
        if methods.get(method) != facts:
            found.append(f"method {method} is {methods.get(method)}, published as {facts}")
    for method in methods.keys() - published["services"][SERVICE].keys():
        found.append(f"method {method} is not published")
    for service in ours["services"].keys() - published["services"].keys():
        found.append(f"service {service} is not published")
    return found


def test_descriptors_are_as_published(files, published):
    ours = dump(files)
    assert SERVICE in ours["services"]
    assert len(ours["messages"]) > 100, "the descriptor set is not ours"
    assert drift(ours, published) == []


def test_messages_that_carry_values_are_complete(files, published):
    """Leaving a field out of these would lose what a client sends or reads."""
    ours = dump(files)["messages"]
    for name in (
        "common.Status",
        "common.PlaceholderValue",
        "schema.FieldSchema",
        "schema.CollectionSchema",
        "schema.FieldData",
        "schema.ScalarField",
        "schema.VectorField",
        "schema.SearchResultData",
        "schema.IDs",
        "schema.TemplateValue",
        "schema.TemplateArrayValue",
        "milvus.DescribeCollectionResponse",
        "milvus.IndexDescription",
        "milvus.SearchResults",
        "milvus.QueryResults",
        "milvus.RefreshExternalCollectionJobInfo",
    ):
        full = f"milvus.proto.{name}"
        assert ours[full].keys() == published["messages"][full].keys(), full


def _message(files, name):
    package, _, short = name.rpartition(".")
    for file in files:
        for message in file.message_type:
            if file.package == package and message.name == short:
                return message
    raise AssertionError(f"{name} is not declared")


def _field(files, message, name):
    return next(field for field in _message(files, message).field if field.name == name)


def _change_number(files):
    _field(files, "milvus.proto.schema.FieldData", "valid_data").number = 19


def _change_name(files):
    _field(files, "milvus.proto.milvus.SearchRequest", "dsl").name = "filter"


def _change_type(files):
    field = _field(files, "milvus.proto.common.Status", "code")
    field.type = descriptor_pb2.FieldDescriptorProto.TYPE_INT64


def _change_label(files):
    field = _field(files, "milvus.proto.schema.SearchResultData", "topks")
    field.label = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL


def _leave_oneof(files):
    _field(files, "milvus.proto.milvus.SearchRequest", "placeholder_group").ClearField(
        "oneof_index"
    )


def _change_message_type(files):
    field = _field(files, "milvus.proto.milvus.SearchResults", "results")
    field.type_name = ".milvus.proto.schema.IDs"


def _change_enum_value(files):
    for file in files:
        for enum in file.enum_type:
            if enum.name == "LoadState":
                enum.value[3].number = 4


def _invent_message(files):
    files[0].message_type.add(name="Invented")


def _drop_method(files):
    for file in files:
        for service in file.service:
            del service.method[0]


def _change_method_type(files):
    for file in files:
        for service in file.service:
            service.method[0].output_type = ".milvus.proto.milvus.BoolResponse"


@pytest.mark.parametrize(
    "mutate",
    [
        _change_number,
        _change_name,
        _change_type,
        _change_label,
        _leave_oneof,
        _change_message_type,
        _change_enum_value,
        _invent_message,
        _drop_method,
        _change_method_type,
    ],
)
def test_drift_is_noticed(files, published, mutate):
    mutated = copy.deepcopy(files)
    mutate(mutated)
    found = drift(dump(mutated), published)
    assert len(found) == 1, found
