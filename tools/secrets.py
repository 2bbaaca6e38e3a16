"""The secrets of a deployment: the first version of each, and the token key's rotation.

`first` prints Terraform's variable `first_secrets`, as JSON; nothing is kept. `rotate-token-key` reads the published
JWKS document and writes the three files that docs/runbook.md has the operator store one after the other.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from common.auth import tokens


def first() -> dict[str, dict[str, str]]:
    """New secrets, as a `.tfvars.json` holds them."""
    from cryptography.fernet import Fernet

    key, jwk = tokens.generate_key()
    values = {
        "token_private_key": key,
        "token_jwks": json.dumps(tokens.jwks([jwk])),
        "webhook_secret_keys": Fernet.generate_key().decode(),
    }
    return {"first_secrets": values}


def rotate(published: Any) -> dict[str, str]:
    """Files by name: the new private key, the JWKS document while both keys are good, and the one after that.

    ValueError when a rotation is under way already, or the document is none of ours.
    """
    keys = published.get("keys") if isinstance(published, dict) else None
    if not isinstance(keys, list) or len(keys) != 1:
        raise ValueError("a rotation begins with one published key: end the other one first")
    key, jwk = tokens.generate_key()
    return {
        "token-private-key.pem": key,
        "jwks-both.json": json.dumps(tokens.jwks([jwk, *keys])),
        "jwks-new.json": json.dumps(tokens.jwks([jwk])),
    }


def write_private(folder: Path, files: dict[str, str]) -> None:
    """Make `folder` with `files`, which only its owner may read. FileExistsError for one that is there already."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in files.items():
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        print(folder / name)


def main() -> None:
    """Print or write."""
    parser = argparse.ArgumentParser(prog="python -m tools.secrets", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("first", help="print first_secrets")
    rotation = commands.add_parser("rotate-token-key", help="write the files of a rotation")
    rotation.add_argument("--jwks", type=Path, required=True, help="the published document, as it is now")
    rotation.add_argument("--into", type=Path, required=True, help="a folder for the files")
    arguments = parser.parse_args()
    if arguments.command == "first":
        print(json.dumps(first()))
        return
    try:
        files = rotate(json.loads(arguments.jwks.read_text()))
        write_private(arguments.into, files)
    except (ValueError, OSError) as error:
        sys.exit(f"nothing rotated: {error}")


if __name__ == "__main__":
    main()
