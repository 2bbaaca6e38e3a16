"""Every migration can be taken back, and comes again to the same schema."""

import os
import subprocess
import sys

from common.db import Connection, connect_url
from tests.conftest import ROOT
from tools.local.ports import free_ports
from tools.local.postgres import Postgres

SCHEMA = """
SELECT 'column' AS kind, table_name || '.' || column_name AS name,
       data_type || ' ' || is_nullable || ' ' || coalesce(column_default, '') AS told
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public'
UNION ALL SELECT 'grant', table_name || ' ' || grantee, string_agg(privilege_type, ' ' ORDER BY privilege_type)
    FROM information_schema.table_privileges WHERE table_schema = 'public' GROUP BY 2
ORDER BY 1, 2
"""


def test_migrations_go_down_one_by_one_and_up_again_to_the_same_schema(tmp_path):
    server = Postgres(tmp_path / "postgres", *free_ports(1), durable=False)
    server.start()

    def alembic(*words):
        env = dict(os.environ) | {"MIGRATIONS_DATABASE_URL": server.owner_url}
        subprocess.run([sys.executable, "-m", "alembic", *words], cwd=ROOT, env=env, check=True)

    def schema():
        conn = Connection(connect_url(server.owner_url))
        try:
            return conn.rows(SCHEMA)
        finally:
            conn.close()

    try:
        alembic("upgrade", "head")
        first = schema()
        alembic("downgrade", "-1")
        assert schema() != first
        alembic("upgrade", "head")
        assert schema() == first
        alembic("downgrade", "base")
        alembic("upgrade", "head")
        assert schema() == first
    finally:
        server.stop()
