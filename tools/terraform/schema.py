"""The google provider's schema, rebuilt from its generated bindings: what `terraform providers schema` would print.

`cdktn-provider-google` is a wheel of JavaScript classes, one for each resource, generated from the provider's own
schema. Every attribute stands there with `computed`, `optional`, `required` and its type, every block with its
nesting, and the documentation lists the values that an enumeration may have. This reads them back.
"""

import argparse
import io
import json
import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Type = Any  # Terraform's: "string", ["list", "string"], ["object", {...}]
Schema = dict[str, Any]

_CLASS = re.compile(r"^class (\w+) extends cdktn\.(\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_ATTRIBUTE = re.compile(
    r"^    // (\w+) - computed: (true|false), optional: (true|false), required: (true|false)\n"
    r"(.*?)(?=^    // \w+ - computed|^    // =====|\Z)",
    re.MULTILINE | re.DOTALL,
)
_SYNTHESIS = re.compile(r"^ {8,}(\w+): \{\n\s+value: .*\n\s+isBlock: (true|false),\n\s+type: \"(\w+)\"", re.MULTILINE)
_STRUCT = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_INTERFACE = re.compile(r"^export interface (\w+) [^{]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_DOCUMENTED = re.compile(r"/\*\*\n((?:(?!\*/).)*?#(\w+) \w+#\w+\}.*?)\*/", re.DOTALL)
_VALUES = re.compile(r"Possible values: \[([^\]]+)\]")
_NESTED = re.compile(r"= new (?:\w+\.)?(\w+)\(this, \"\w+\"(?:, (true|false))?\)")
_ELEMENT = re.compile(r"return new (?:\w+\.)?(\w+OutputReference)\(")
_GETTER = re.compile(r"this\.(get\w+Attribute)\(")
_GETTERS: dict[str, Type] = {
    "getStringAttribute": "string",
    "getNumberAttribute": "number",
    "getBooleanAttribute": "bool",
    "getListAttribute": ["list", "string"],
    "getNumberListAttribute": ["list", "number"],
    "getStringMapAttribute": ["map", "string"],
    "getNumberMapAttribute": ["map", "number"],
    "getBooleanMapAttribute": ["map", "bool"],
}
_MAPS: dict[str, Type] = {
    "StringMap": ["map", "string"],
    "NumberMap": ["map", "number"],
    "BooleanMap": ["map", "bool"],
    "StringMapList": ["list", ["map", "string"]],
    "AnyMap": ["map", "dynamic"],
}
_KINDS = {"TerraformResource": "resources", "TerraformDataSource": "data_sources", "TerraformProvider": "provider"}


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute or block as its comment and its getter tell it."""

    name: str
    computed: bool
    optional: bool
    required: bool
    code: str

    @property
    def nested(self) -> tuple[str, bool] | None:
        """The class that holds its members, and whether it stands in a set."""
        found = _NESTED.search(self.code)
        return (found[1], found[2] == "true") if found else None


@dataclass
class Bindings:
    """One resource's folder of the wheel."""

    classes: dict[str, tuple[str, str]] = field(default_factory=dict)
    #: By class: whether each of its members is a block, and of which shape.
    shapes: dict[str, dict[str, tuple[bool, str]]] = field(default_factory=dict)
    #: By interface: the values that each of its enumerations may have.
    values: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)

    def read(self, code: str, declarations: str) -> None:
        """Take in a JavaScript module and its TypeScript declarations."""
        for name, base, body in _CLASS.findall(code):
            self.classes[name] = (base, body)
            self.shapes.setdefault(name, _shapes(body))
        for name, body in _STRUCT.findall(code):
            self.shapes[name[0].upper() + name[1:]] = _shapes(body)
        for name, body in _INTERFACE.findall(declarations):
            self.values[name] = {key: _values(text) for text, key in _DOCUMENTED.findall(body) if _values(text)}

    def block(self, class_name: str, interface: str) -> Schema:
        """The block that `class_name` describes."""
        made: Schema = {"attributes": {}, "block_types": {}}
        if class_name in self.open:  # two structures of one name: generated names collide
            return made
        self.open.append(class_name)
        shapes = self.shapes.get(class_name.removesuffix("OutputReference"), {})
        for attribute in _attributes(self.classes[class_name][1]):
            is_block, shape = shapes.get(attribute.name, (False, ""))
            nested = attribute.nested
            if nested and nested[0] not in _MAPS and is_block and not attribute.computed:
                made["block_types"][attribute.name] = self._nested_block(attribute, nested, shape)
            else:
                values = self.values.get(interface, {}).get(attribute.name)
                made["attributes"][attribute.name] = self._attribute(attribute, shape, values)
        self.open.pop()
        return made

    def _nested_block(self, attribute: Attribute, nested: tuple[str, bool], shape: str) -> Schema:
        element, mode = self._element(nested, shape)
        block: Schema = {"nesting_mode": mode, "block": self.block(element, element.removesuffix("OutputReference"))}
        if element == nested[0] and mode != "single":
            block["max_items"] = 1
        return block | ({"min_items": 1} if attribute.required else {})

    def _attribute(self, attribute: Attribute, shape: str, values: list[str] | None) -> Schema:
        flags = {name: True for name in ("computed", "optional", "required") if getattr(attribute, name)}
        # The bindings do not tell; the provider names every write-only attribute so.
        secret = {"write_only": True} if attribute.name.endswith("_wo") else {}
        return {"type": self._type(attribute, shape), **flags, **secret, **({"values": values} if values else {})}

    def _type(self, attribute: Attribute, shape: str) -> Type:
        nested = attribute.nested
        if nested and nested[0] in _MAPS:
            return _MAPS[nested[0]]
        if nested:
            element, mode = self._element(nested, shape)
            mode = "map" if nested[0].endswith("Map") else mode
            of = _object(self.block(element, element))
            return of if mode == "single" else [mode, of]
        getter = _GETTER.search(attribute.code)
        found = _GETTERS.get(getter[1], "dynamic") if getter else "dynamic"
        return ["set", found[1]] if "Fn.tolist(" in attribute.code and isinstance(found, list) else found

    def _element(self, nested: tuple[str, bool], shape: str) -> tuple[str, str]:
        """The class of one element, and how elements are nested."""
        name, in_set = nested
        mode = "single" if shape == "struct" else "set" if in_set or shape == "set" else "list"
        if name.endswith("OutputReference"):
            return name, mode
        element = _ELEMENT.search(self.classes[name][1])
        if not element:
            raise ValueError(f"{name} names no element")
        return element[1], mode


def _attributes(body: str) -> Iterator[Attribute]:
    for name, computed, optional, required, code in _ATTRIBUTE.findall(body):
        yield Attribute(name, computed == "true", optional == "true", required == "true", code)


def _shapes(body: str) -> dict[str, tuple[bool, str]]:
    return {name: (is_block == "true", shape) for name, is_block, shape in _SYNTHESIS.findall(body)}


def _values(text: str) -> list[str]:
    found = _VALUES.search(text)
    return re.findall(r'"([^"]*)"', found[1]) if found else []


def _object(block: Schema) -> Type:
    members = {name: attribute["type"] for name, attribute in block["attributes"].items()}
    for name, nested in block["block_types"].items():
        of = _object(nested["block"])
        members[name] = of if nested["nesting_mode"] == "single" else [nested["nesting_mode"], of]
    return ["object", members]


def rebuild(wheel: Path) -> Schema:
    """`{"resources", "data_sources", "provider"}`: blocks by type name, from the wheel."""
    made: Schema = {"resources": {}, "data_sources": {}}
    for bindings in _folders(wheel):
        for name, (base, body) in bindings.classes.items():
            kind = _KINDS.get(base)
            if kind == "provider":
                made["provider"] = bindings.block(name, f"{name}Config")
            elif kind:
                resource = re.search(r'static tfResourceType = "(\w+)"', body)
                if not resource:
                    raise ValueError(f"{name} tells no resource type")
                made[kind][resource[1]] = bindings.block(name, f"{name}Config")
    return made


def _folders(wheel: Path) -> Iterator[Bindings]:
    """The bindings of each resource: a folder of `lib`, some spread over several files."""
    folders: dict[str, Bindings] = {}
    declarations: dict[str, str] = {}
    with zipfile.ZipFile(wheel) as archive:
        inner = archive.read(next(name for name in archive.namelist() if name.endswith(".jsii.tgz")))
    with tarfile.open(fileobj=io.BytesIO(inner), mode="r:gz") as package:
        code: dict[str, str] = {}
        for member in package:
            parts = Path(member.name).parts
            if len(parts) < 4 or parts[1] != "lib" or not member.name.endswith((".js", ".d.ts")):  # noqa: PLR2004 - package/lib/<resource>/<file>
                continue
            content = package.extractfile(member)
            into = declarations if member.name.endswith(".d.ts") else code
            into[member.name.removesuffix(".d.ts").removesuffix(".js")] = content.read().decode() if content else ""
    for path, text in sorted(code.items()):
        folders.setdefault(Path(path).parts[2], Bindings()).read(text, declarations.get(path, ""))
    yield from folders.values()


def main() -> int:
    """Write the schema of a wheel."""
    parser = argparse.ArgumentParser(prog="python -m tools.terraform.schema", description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    made = rebuild(arguments.wheel)
    draft = arguments.out.with_suffix(".tmp")
    draft.write_text(json.dumps(made, separators=(",", ":")))
    draft.replace(arguments.out)
    sys.stdout.write(f"the schema of {len(made['resources'])} resources, from {arguments.wheel.name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
