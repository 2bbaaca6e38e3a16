"""A plan, read: every resource by type and key, and each function by its row of the table."""

import json
from dataclasses import dataclass
from typing import Any

from tests.terraform.terraform import SOURCE


@dataclass(frozen=True)
class Resource:
    type: str
    name: str
    key: Any
    module: str
    values: dict[str, Any]


class Plan:
    def __init__(self, shown, table=None):
        """`shown` is what `terraform show -json` prints."""
        self.shown = shown
        table = table or json.loads((SOURCE / "functions.json").read_text())
        self.table = {row["name"]: row for row in table["functions"]}
        self.resources = list(_resources(shown["planned_values"]["root_module"]))

    def all(self, type_, name=None):
        """The resources of a type."""
        return [r for r in self.resources if r.type == type_ and name in (None, r.name)]

    def one(self, type_, name=None):
        """The values of the one resource of a type."""
        found = self.all(type_, name)
        assert len(found) == 1, f"{len(found)} of {type_} {name or ''}"
        return found[0].values

    def keyed(self, type_, name=None):
        """The values of the resources of a type, by their `for_each` key."""
        return {r.key: r.values for r in self.all(type_, name)}

    @property
    def services(self):
        """Cloud Run's services by the function whose file they run."""
        found = {}
        for resource in self.all("google_cloud_run_v2_service"):
            source = environment(resource.values)["FUNCTION_SOURCE"]
            assert source.startswith("/app/functions/"), source
            assert source.endswith("/main.py"), source
            name = source.removeprefix("/app/functions/").removesuffix("/main.py")
            assert name not in found, f"two services run {name}"
            found[name] = resource.values
        return found

    def accounts(self):
        """Service accounts' addresses."""
        return {r.values["email"] for r in self.all("google_service_account")}


def template(service):
    return service["template"][0]


def container(service):
    (only,) = template(service)["containers"]
    return only


def environment(service):
    """The variables of a service that are written out."""
    return {env["name"]: env["value"] for env in container(service)["env"] if not env["value_source"]}


def secrets(service):
    """The variables of a service that come from Secret Manager: the secret's id by name."""
    given = {env["name"]: env["value_source"] for env in container(service)["env"] if env["value_source"]}
    keys = {name: source[0]["secret_key_ref"][0] for name, source in given.items()}
    assert all(key["version"] == "latest" for key in keys.values()), "a rotation would not be seen"
    return {name: key["secret"] for name, key in keys.items()}


def _resources(module):
    for resource in module.get("resources", []):
        yield Resource(
            resource["type"],
            resource["name"],
            resource.get("index"),
            module.get("address", ""),
            resource["values"],
        )
    for child in module.get("child_modules", []):
        yield from _resources(child)
