"""What the stand-in provider puts where Google would compute: unknown in a plan, made up at the apply."""

from collections.abc import Callable
from typing import Any

import msgpack

from tools.terraform.schema import Schema, Type

#: How Terraform writes a value that is not known yet.
UNKNOWN = msgpack.ExtType(0, b"\x00")

State = dict[str, Any]
Fill = Callable[[str, Type, State], Any]


def completed(block: Schema, state: State, fill: Fill) -> State:
    """`state` with what is computed filled in; what is write-only is never kept."""
    made = dict(state)
    for name, of in block["attributes"].items():
        if of.get("write_only"):
            made[name] = None
        elif of.get("computed") and (made.get(name) is None or isinstance(made[name], msgpack.ExtType)):
            made[name] = fill(name, of["type"], made)
    for name, of in block["block_types"].items():
        inside = made.get(name)
        if isinstance(inside, list):
            made[name] = [completed(of["block"], element, fill) for element in inside]
        elif isinstance(inside, dict):
            made[name] = completed(of["block"], inside, fill)
    return made


def unknown(_name: str, _type: Type, _state: State) -> Any:
    """Not known before the apply."""
    return UNKNOWN


def kept(name: str, _type: Type, state: State) -> Any:
    """As it was."""
    return state.get(name)


def made_up(project: str, kind: str, name: str, type_: Type, state: State) -> Any:
    """A value of the right type that looks like Google's."""
    if type_ == "string":
        return _text(project, kind, name, state)
    match type_:
        case ["object", members]:
            return {member: made_up(project, kind, member, of, {}) for member, of in members.items()}
        case ["map", _]:
            return {}
        case [_, _]:
            return []
    return {"number": 0, "bool": False}.get(type_)


def _text(project: str, kind: str, name: str, state: State) -> str:
    own = next((state[key] for key in ("name", "account_id", "secret_id") if isinstance(state.get(key), str)), name)
    if kind == "google_service_account":
        email = f"{own}@{project}.iam.gserviceaccount.com"
        made = {
            "email": email,
            "member": f"serviceAccount:{email}",
            "name": f"projects/{project}/serviceAccounts/{email}",
        }
    else:
        made = {
            "uri": f"https://{own}-123456789012.{state.get('location')}.run.app",
            "connection_name": f"{project}:{state.get('region')}:{own}",
            "address": "10.64.0.0" if state.get("purpose") == "VPC_PEERING" else "203.0.113.10",
        }
    return made.get(name) or {"project": project, "id": f"projects/{project}/{kind}/{own}"}.get(
        name, f"{name}-of-{own}"
    )
