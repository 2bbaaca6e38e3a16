"""Migrates the local database, and ends with its supervisor: `python -m tools.local.migrate --with-parent`."""

from alembic.config import main

from tools.local.processes import die_with_parent

if __name__ == "__main__":
    die_with_parent()
    main(["upgrade", "head"])
