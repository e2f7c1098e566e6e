"""Dumps wire descriptors as JSON: messages, fields, enums and services.

Without an argument it dumps the descriptors that the installed pymilvus carries; with the path of a
serialized FileDescriptorSet it dumps those. Both have the same form, so that two dumps can be
compared with any tool:

    messages: full name -> field name -> {number, type, label, oneof, optional, type_name}
    enums:    full name -> value name -> number
    services: full name -> method name -> {input, output, client_streaming, server_streaming}

It compares nothing itself; test_wire_descriptors.py does.
"""

import json
import sys
from pathlib import Path

from google.protobuf import descriptor_pb2

_FIELD = descriptor_pb2.FieldDescriptorProto


def published_files():
    """The FileDescriptorProtos of the installed pymilvus, one per .proto file."""
    from pymilvus.grpc_gen import common_pb2, feder_pb2, milvus_pb2, msg_pb2, rg_pb2, schema_pb2

    files = []
    for module in (common_pb2, feder_pb2, milvus_pb2, msg_pb2, rg_pb2, schema_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files.append(file)
    return files


def files_of_set(data):
    """The FileDescriptorProtos in a serialized FileDescriptorSet."""
    return list(descriptor_pb2.FileDescriptorSet.FromString(data).file)


def _field(message, field):
    # A proto3 `optional` field sits in a oneof that the compiler made up: `optional` says so.
    oneof = None
    if field.HasField("oneof_index") and not field.proto3_optional:
        oneof = message.oneof_decl[field.oneof_index].name
    return {
        "number": field.number,
        "type": _FIELD.Type.Name(field.type),
        "label": _FIELD.Label.Name(field.label),
        "oneof": oneof,
        "optional": field.proto3_optional,
        "type_name": field.type_name.lstrip("."),
    }


def _enum(dump, scope, enum):
    dump["enums"][f"{scope}.{enum.name}"] = {value.name: value.number for value in enum.value}


def _message(dump, scope, message):
    name = f"{scope}.{message.name}"
    dump["messages"][name] = {field.name: _field(message, field) for field in message.field}
    for enum in message.enum_type:
        _enum(dump, name, enum)
    for nested in message.nested_type:
        _message(dump, name, nested)


def dump(files):
    """The descriptors of `files` as a dictionary of plain values."""
    result = {"messages": {}, "enums": {}, "services": {}}
    for file in files:
        for enum in file.enum_type:
            _enum(result, file.package, enum)
        for message in file.message_type:
            _message(result, file.package, message)
        for service in file.service:
            result["services"][f"{file.package}.{service.name}"] = {
                method.name: {
                    "input": method.input_type.lstrip("."),
                    "output": method.output_type.lstrip("."),
                    "client_streaming": method.client_streaming,
                    "server_streaming": method.server_streaming,
                }
                for method in service.method
            }
    return result


def main(arguments):
    if len(arguments) > 1:
        print("usage: dump_descriptors.py [DESCRIPTOR_SET]", file=sys.stderr)
        return 2
    files = files_of_set(Path(arguments[0]).read_bytes()) if arguments else published_files()
    json.dump(dump(files), sys.stdout, indent=1, sort_keys=True)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
