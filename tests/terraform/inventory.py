"""The plans as a page that people read: `inventory.txt`, what every resource says, kept beside the configuration.

`python -m tests.terraform.inventory` writes it. The rules tell what must hold; this shows whatever else a change of
the configuration does, so that its author and its reviewer see it: an argument more, one less, another value.

One line an argument. Of a `for_each` the commonest value stands alone, the others with their keys; `*` is the key
itself, so that a new endpoint like the others changes nothing here. What is false, zero or empty is not told.
"""

import json
import re
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

from tests.terraform.plan import Plan
from tests.terraform.terraform import EVERYTHING, PROJECT, SOURCE, Terraform, provider
from tools import secrets

PAGE = Path(__file__).with_name("inventory.txt")
REPOSITORY = "projects/demo-project/locations/europe-west1/connections/github/repositories/api"
#: The table's own texts, names that are keys already, what follows from the type, and what the stand-in makes up.
NOT_TOLD = re.compile(r"^description$|^display_name$|\]\.name$|^(?:id|project|member)$")
MADE_UP = re.compile(r"\w+-of-[\w@. %-]+")
#: Of these there is one for each row, or each set of needs: a few of their values are told, and all have rules.
OF_THE_TABLE = re.compile(r"cloud_run_v2_service|_iam_member|service_account|backend_service|endpoint_group")
FEW, MANY = 4, 20
_HIDDEN = "ignore_changes|create_before_destroy|prevent_destroy|backend|prefix"
LIFECYCLE = re.compile(rf'^ *((?:{_HIDDEN}) +[="].*)$', re.MULTILINE)


def page(root, bootstrap):
    """The page's text for the plans of both configurations, with every variable set."""
    lifecycle = [f"{f.relative_to(SOURCE)}: {said}" for f in _files() for said in LIFECYCLE.findall(f.read_text())]
    parts = [*_blocks(root), *_blocks(bootstrap), ("what no plan shows", lifecycle)]
    return "\n".join("\n".join([title, *(f"    {line}" for line in lines), ""]) for title, lines in parts)


def _files():
    return sorted(path for path in SOURCE.rglob("*.tf") if not path.name.startswith("zz_"))


def _blocks(plan):
    said, told = _configured(plan), defaultdict(dict)
    for resource in plan.resources:
        key = resource.module.split('"')[1] if resource.module else resource.key
        told[f"{resource.type}.{resource.name}"][str(key)] = _arguments(resource, said)
    for address, by_key in sorted(told.items()):
        keys = [] if len(by_key) == 1 or OF_THE_TABLE.search(address) else [f"for each of {', '.join(sorted(by_key))}"]
        yield address, [*keys, *_after(said[address]), *_lines(address, by_key)]
    yield from _around(plan)


def _configured(plan):
    """What the plan tells of the configuration, by the resource's address."""
    root = plan.shown["configuration"]["root_module"]
    modules = [root, *(call["module"] for call in root.get("module_calls", {}).values())]
    return {resource["address"]: resource for module in modules for resource in module["resources"]}


def _around(plan):
    """What is no resource: calls of modules, the provider, outputs."""
    configuration = plan.shown["configuration"]
    for name, call in configuration["root_module"].get("module_calls", {}).items():
        yield f"module.{name}", list(_after(call))
    for name, said in configuration["provider_config"].items():
        yield f"provider {name}", [f"{path} = {value}" for path, value in _flat(said)]
    outputs = {name: output["value"] for name, output in plan.shown["planned_values"]["outputs"].items()}
    yield "outputs", [f"{name} = {value}" for name, value in _flat(outputs) if not OF_THE_TABLE.search(name)]


def _after(configured):
    """What waits for what, beyond what it refers to."""
    if on := configured.get("depends_on"):
        yield f"after {', '.join(sorted(on))}"


def _arguments(resource, said):
    """What the configuration, and not the provider, gives a resource: text by path."""
    given = set(said[f"{resource.type}.{resource.name}"]["expressions"])
    blocks = {name for name, value in resource.values.items() if isinstance(value, list)}
    found = defaultdict(list)
    for path, text in _flat({name: value for name, value in resource.values.items() if name in given | blocks}):
        found[path].append(text)
    return {path: ", ".join(dict.fromkeys(texts)) if len(texts) <= MANY else "..." for path, texts in found.items()}


def _flat(value, path=""):
    if isinstance(value, dict):
        for name, inside in value.items():
            yield from _flat(inside, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inside in value:
            name = inside.get("name") if isinstance(inside, dict) else None
            yield from _flat(inside, f"{path}[{name}]" if name and not MADE_UP.fullmatch(name) else path)
    elif path.endswith("_json"):
        yield from _flat(json.loads(value), path)
    elif value and not NOT_TOLD.search(path) and not MADE_UP.fullmatch(str(value)):
        yield path, str(value)


def _lines(address, by_key):
    for path in sorted({path for arguments in by_key.values() for path in arguments}):
        values = {key: _by_key(said[path], key) for key, said in by_key.items() if path in said}
        keys_of = defaultdict(list)
        for key, value in sorted(values.items()):
            keys_of[value].append(key)
        if len(keys_of) > FEW and OF_THE_TABLE.search(address):
            yield f"{path} = ..."
            continue
        (usual, _), *_ = Counter(values.values()).most_common()
        rare = len(values) <= FEW < len(by_key)
        for value, keys in sorted(keys_of.items()):
            yield f"{path} = {value}" + (f"  ({', '.join(keys)})" if value != usual or rare else "")


def _by_key(text, key):
    """A value without the key that it is of, in either of its spellings."""
    spelt = f"{re.escape(key)}|{re.escape(key.replace('_', '-'))}"
    return re.sub(rf"(?<![a-z0-9])(?:{spelt})(?![\w-])", "*", text)


def main():
    """Write the page."""
    with tempfile.TemporaryDirectory() as made, provider("--certain") as told:
        file = Path(made) / "secrets.tfvars.json"
        file.write_text(json.dumps(secrets.first()))
        root = planned(Path(made) / "root", told, SOURCE, f"-var-file={EVERYTHING}", f"-var-file={file}")
        PAGE.write_text(page(root, bootstrap(Path(made) / "bootstrap", told)))
    return 0


def bootstrap(folder, told):
    """The bootstrap's plan, with a repository that deploys."""
    return planned(folder, told, SOURCE / "bootstrap", f"-var=project_id={PROJECT}", f"-var=repository={REPOSITORY}")


def planned(folder, told, source, *arguments):
    """A configuration's plan, by a provider that `told` how to reach it."""
    terraform = Terraform(folder, told, source)
    terraform.init()
    return Plan(terraform.plan(*arguments))


if __name__ == "__main__":
    sys.exit(main())
