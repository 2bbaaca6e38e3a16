"""A stand-in for the google provider: a real protocol-6 server with the real schema, and no cloud.

Terraform itself checks names, types, references and cycles against the schema. This checks in addition what the
provider's documentation lists: the values of enumerations, and attributes that only Google may set. What Google would
compute is unknown in a plan and made up at the apply. It cannot know what Google alone knows: which arguments exclude
each other, formats, quotas, permissions. With `--certain` everything is made up in the plan already, so that a plan
can be read as a whole without applying it.

Terraform finds it by `TF_REATTACH_PROVIDERS`, which this prints; it serves any number of commands until it is ended.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import msgpack
from tf.gen import grpc_controller_pb2, grpc_controller_pb2_grpc, grpc_stdio_pb2_grpc, tfplugin_pb2_grpc
from tf.gen import tfplugin_pb2 as pb

from tools.local.processes import die_with_parent
from tools.terraform.schema import Schema
from tools.terraform.values import completed, kept, made_up, unknown

ADDRESS = "registry.terraform.io/hashicorp/google"
NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}
#: `bool write_only = 11` of the protocol's Schema.Attribute, which the generated messages are too old to name.
WRITE_ONLY = b"\x58\x01"
WORKERS = 8


class Provider(tfplugin_pb2_grpc.ProviderServicer):  # type: ignore[misc]
    """Answers for the resource types of one schema."""

    def __init__(self, schema: Schema, project: str, *, certain: bool) -> None:
        """`schema` as `tools.terraform.schema` writes it; `project` stands in made-up names."""
        self._schema = schema
        self._project = project
        self._certain = certain
        self._told = pb.GetProviderSchema.Response(
            provider=_schema(schema["provider"]),
            provider_meta=_schema({"attributes": {}, "block_types": {}}),
            resource_schemas={name: _schema(block) for name, block in schema["resources"].items()},
            data_source_schemas={name: _schema(block) for name, block in schema["data_sources"].items()},
        )

    def GetMetadata(self, _request: Any, _context: Any) -> Any:
        """Nothing beside the schema."""
        return pb.GetMetadata.Response()

    def GetProviderSchema(self, _request: Any, _context: Any) -> Any:
        """The whole schema: asked by every command, so made once."""
        return self._told

    def ValidateProviderConfig(self, _request: Any, _context: Any) -> Any:
        """Any is good."""
        return pb.ValidateProviderConfig.Response()

    def ConfigureProvider(self, _request: Any, _context: Any) -> Any:
        """Terraform does not configure a provider that it did not start; nothing depends on it."""
        return pb.ConfigureProvider.Response()

    def StopProvider(self, _request: Any, _context: Any) -> Any:
        """Nothing is going on that could be stopped."""
        return pb.StopProvider.Response()

    def GetFunctions(self, _request: Any, _context: Any) -> Any:
        """None."""
        return pb.GetFunctions.Response()

    def ValidateResourceConfig(self, request: Any, _context: Any) -> Any:
        """What the documentation lists."""
        block = self._schema["resources"][request.type_name]
        return pb.ValidateResourceConfig.Response(diagnostics=list(_faults(block, _read(request.config), [])))

    def ValidateDataResourceConfig(self, _request: Any, _context: Any) -> Any:
        """Any is good."""
        return pb.ValidateDataResourceConfig.Response()

    def UpgradeResourceState(self, request: Any, _context: Any) -> Any:
        """The state is of this version already."""
        return pb.UpgradeResourceState.Response(upgraded_state=_write(json.loads(request.raw_state.json)))

    def ReadResource(self, request: Any, _context: Any) -> Any:
        """What was applied is what there is."""
        return pb.ReadResource.Response(new_state=request.current_state)

    def PlanResourceChange(self, request: Any, _context: Any) -> Any:
        """As proposed; what Google computes is unknown when the resource is new."""
        block = self._schema["resources"][request.type_name]
        prior, proposed = _read(request.prior_state), _read(request.proposed_new_state)
        if proposed is not None:
            new = partial(made_up, self._project, request.type_name) if self._certain else unknown
            proposed = completed(block, proposed, new if prior is None else kept)
        return pb.PlanResourceChange.Response(planned_state=_write(proposed))

    def ApplyResourceChange(self, request: Any, _context: Any) -> Any:
        """As planned; what Google computes is made up."""
        block = self._schema["resources"][request.type_name]
        planned = _read(request.planned_state)
        made = planned and completed(block, planned, partial(made_up, self._project, request.type_name))
        return pb.ApplyResourceChange.Response(new_state=_write(made))

    def ReadDataSource(self, request: Any, _context: Any) -> Any:
        """All made up."""
        block = self._schema["data_sources"][request.type_name]
        made = completed(block, _read(request.config), partial(made_up, self._project, request.type_name))
        return pb.ReadDataSource.Response(state=_write(made))


def _schema(block: Schema) -> Any:
    return pb.Schema(version=0, block=_block(block))


def _block(block: Schema) -> Any:
    nested = [
        pb.Schema.NestedBlock(
            type_name=name,
            block=_block(of["block"]),
            nesting=NESTING[of["nesting_mode"]],
            min_items=of.get("min_items", 0),
            max_items=of.get("max_items", 0),
        )
        for name, of in sorted(block["block_types"].items())
    ]
    attributes = [_attribute(name, of) for name, of in sorted(block["attributes"].items())]
    return pb.Schema.Block(attributes=attributes, block_types=nested)


def _attribute(name: str, of: Schema) -> Any:
    flags = {flag: bool(of.get(flag)) for flag in ("required", "optional", "computed")}
    made = pb.Schema.Attribute(name=name, type=json.dumps(of["type"]).encode(), **flags)
    if of.get("write_only"):
        made.MergeFromString(WRITE_ONLY)
    return made


def _read(value: Any) -> Any:
    return json.loads(value.json) if value.json else msgpack.unpackb(value.msgpack, strict_map_key=False)


def _write(value: Any) -> Any:
    return pb.DynamicValue(msgpack=msgpack.packb(value))


def _faults(block: Schema, config: Any, path: list[str | int]) -> Iterator[Any]:
    if not isinstance(config, dict):
        return
    for name, of in block["attributes"].items():
        value = config.get(name)
        if value is None or isinstance(value, msgpack.ExtType):
            continue
        if of.get("computed") and not of.get("optional"):
            yield _fault(f"{name} is Google's to set", [*path, name])
        if value not in of.get("values", [value]):
            yield _fault(f"{name} is one of {', '.join(of['values'])}, not {value!r}", [*path, name])
    for name, of in block["block_types"].items():
        inside = config.get(name)
        elements = enumerate(inside) if isinstance(inside, list) else [(None, inside)]
        for index, element in elements:
            deeper = [*path, name] if index is None or of["nesting_mode"] == "set" else [*path, name, index]
            yield from _faults(of["block"], element, deeper)


def _fault(text: str, path: list[str | int]) -> Any:
    steps = [
        pb.AttributePath.Step(**{"element_key_int" if isinstance(step, int) else "attribute_name": step})
        for step in path
    ]
    return pb.Diagnostic(
        severity=pb.Diagnostic.ERROR,
        summary="Not a value that the provider documents",
        detail=text,
        attribute=pb.AttributePath(steps=steps),
    )


class Controller(grpc_controller_pb2_grpc.GRPCControllerServicer):  # type: ignore[misc]
    """What go-plugin asks of every plugin."""

    def Shutdown(self, _request: Any, _context: Any) -> Any:
        """Not now: the next command comes."""
        return grpc_controller_pb2.Empty()


class Output(grpc_stdio_pb2_grpc.GRPCStdioServicer):  # type: ignore[misc]
    """What go-plugin copies to the terminal: nothing."""

    def StreamStdio(self, _request: Any, _context: Any) -> Iterator[Any]:
        """Nothing."""
        return iter(())


def serve(provider: Provider, socket: Path) -> Any:
    """A started server on a Unix socket."""
    server = grpc.server(futures.ThreadPoolExecutor(WORKERS))
    tfplugin_pb2_grpc.add_ProviderServicer_to_server(provider, server)
    grpc_controller_pb2_grpc.add_GRPCControllerServicer_to_server(Controller(), server)
    grpc_stdio_pb2_grpc.add_GRPCStdioServicer_to_server(Output(), server)
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    return server


def main() -> None:
    """Serve until the parent ends; the first line tells Terraform how to reach it."""
    parser = argparse.ArgumentParser(prog="python -m tools.terraform.provider", description=__doc__)
    parser.add_argument("--schema", type=Path, required=True)
    parser.add_argument("--types", required=True, help="the resource types in use, comma-separated")
    parser.add_argument("--project", required=True)
    parser.add_argument("--certain", action="store_true", help="make computed values up in the plan already")
    arguments = parser.parse_args()
    die_with_parent()
    types = set(arguments.types.split(","))
    whole = json.loads(arguments.schema.read_text())
    known = {
        kind: {name: of for name, of in whole[kind].items() if name in types} for kind in ("resources", "data_sources")
    }
    with tempfile.TemporaryDirectory(prefix="tf") as folder:
        socket = Path(folder) / "s"
        provider = Provider(known | {"provider": whole["provider"]}, arguments.project, certain=arguments.certain)
        server = serve(provider, socket)
        address = {"Network": "unix", "String": str(socket)}
        reattach = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": address}
        sys.stdout.write(json.dumps({ADDRESS: reattach}) + "\n")
        sys.stdout.flush()
        server.wait_for_termination()


if __name__ == "__main__":
    main()
