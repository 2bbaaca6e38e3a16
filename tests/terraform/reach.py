"""What each function's code can reach, read from the code: settings by name, and functions of `common`.

A call graph by names: a function reaches whatever it mentions, and of a class that it reaches those methods whose names
it mentions. So it says too much rather than too little; `UNTRUE` has what is too much.
"""

import ast
import re
from functools import cache
from typing import NamedTuple

from common.config import Settings
from common.routing import PUBLIC
from tests.terraform.terraform import ROOT

Node = tuple[str, str]
FIELDS = set(Settings.__dataclass_fields__)
#: What a function does not do, though by its code it could.
UNTRUE: dict[str, set[Node]] = {
    # What is canceled or expired has no files.
    "renders_cancel": {("common.domain.render_views", "_signed_output"), ("common.domain.render_views", "_kept_until")},
    "tasks_sweep": {("common.domain.render_views", "_kept_until")},
    # What is complete is not sent any more.
    "uploads_complete": {("common.clients.storage", "upload_url")},
}
#: A public function has no caller, and who does without a database opens none.
AUTHENTICATES, CONNECTS = ("common.http.endpoint", "_authenticate"), ("common.db.opening", "open_raw")
ENDPOINT = ("common.http.endpoint", "endpoint")
#: What tells a need: a setting, or a function of `common`.
NEEDS = {
    "delivery_queues": {"delivery_queues"},
    "engine": {("common.engines.gemini", "Gemini.render")},
    "render_queue": {"render_queue"},
    "storage": {
        ("common.clients.storage", name) for name in ("find", "read", "read_start", "read_end", "write", "delete")
    },
    "storage_read": {("common.clients.storage", "read_url")},
    "storage_upload": {("common.clients.storage", "upload_url")},
    "token_jwks": {"token_jwks"},
    "token_key": {"token_private_key"},
    "webhook_secrets": {"webhook_secret_keys"},
}


class Reach(NamedTuple):
    nodes: frozenset[Node]
    settings: frozenset[str]


class Module:
    def __init__(self, name: str, tree: ast.Module):
        self.name = name
        self.imports: dict[str, tuple[str, str]] = {}
        self.parts: dict[str, ast.AST] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                self.imports |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        for node in tree.body:
            for part in _names(node):
                self.parts[part] = node
            if isinstance(node, ast.ClassDef):
                self.parts |= {f"{node.name}.{m.name}": m for m in node.body if isinstance(m, ast.FunctionDef)}


def _names(node):
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (target.id for target in targets if isinstance(target, ast.Name))


@cache
def modules():
    found = {}
    for folder in ("common", "functions"):
        for path in (ROOT / folder).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = Module(name, ast.parse(path.read_text()))
    return found


def of(row):
    """What the function of a row of the table reaches."""
    cut = set(UNTRUE.get(row["name"], ()))
    cut |= {AUTHENTICATES} if row["scope"] == PUBLIC else set()
    cut |= set() if "database" in row["needs"] else {CONNECTS}
    return _reached(row["name"], frozenset(cut))


def needs(row):
    """What a function needs by its code; the database for its callers, or if its own code mentions it."""
    reached = of(row)
    own = _reached(row["name"], frozenset({ENDPOINT}))
    database = row["scope"] != PUBLIC or any(module.startswith("common.db.") for module, _ in own.nodes)
    found = {need for need, told_by in NEEDS.items() if told_by & (reached.nodes | reached.settings)}
    return found | ({"database"} if database else set())


@cache
def _reached(name, cut):
    nodes: set[Node] = set()
    attributes: set[str] = set()
    settings: set[str] = set()
    todo = [(f"functions.{name}.main", "main")]
    while todo:
        node = todo.pop()
        if node not in nodes and node not in cut:
            nodes.add(node)
            for inside in _inside(node):
                todo += _mentioned(node[0], inside)
                settings |= _setting(inside)
                if isinstance(inside, ast.Attribute):
                    attributes.add(inside.attr)
        if not todo:
            todo = [method for method in _methods(nodes, attributes) if method not in nodes | cut]
    return Reach(frozenset(nodes), frozenset(settings))


def _inside(node):
    """All of a part; of a class what is no method, and how it is made."""
    part = modules()[node[0]].parts[node[1]]
    if not isinstance(part, ast.ClassDef):
        return ast.walk(part)
    made = [n for n in part.body if not isinstance(n, ast.FunctionDef) or re.fullmatch(r"__\w+__", n.name)]
    return (inside for n in (*part.bases, *part.decorator_list, *made) for inside in ast.walk(n))


def _methods(nodes, attributes):
    for module, name in nodes:
        parts = modules()[module].parts
        yield from (
            (module, part) for part in parts if part.startswith(f"{name}.") and part.split(".")[1] in attributes
        )


def _mentioned(module, inside):
    """The parts that a name, or an attribute of a module, means."""
    here = modules()[module]
    if isinstance(inside, ast.Name):
        if inside.id in here.parts:
            yield module, inside.id
        elif inside.id in here.imports:
            yield from _imported(*here.imports[inside.id])
    elif isinstance(inside, ast.Attribute) and isinstance(inside.value, ast.Name):
        package, name = here.imports.get(inside.value.id, ("", ""))
        yield from _imported(f"{package}.{name}", inside.attr)


def _imported(module, name):
    known = modules().get(module)
    if known and name in known.parts:
        yield module, name
    elif known and name in known.imports:
        yield from _imported(*known.imports[name])


def _setting(inside):
    """A setting that is read: `settings().x`, `config.x`, `config.require("x")`."""
    if isinstance(inside, ast.Attribute) and ast.unparse(inside.value) in ("settings()", "config", "config.settings()"):
        return {inside.attr} & FIELDS
    if isinstance(inside, ast.Call) and ast.unparse(inside.func).endswith(".require"):
        return {inside.args[0].value} & FIELDS
    return set()
