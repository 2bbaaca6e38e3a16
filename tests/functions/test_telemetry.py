"""Where a render came from, as each plugin's HTTP library tells it, is stored and counted."""

import pytest

from tests.functions.test_renders import Account

#: As they send it: Ruby's Net::HTTP, .NET's HttpClient, libcurl, Python's urllib. What the host adds stands around.
PLUGINS = [
    (
        {"User-Agent": "Ruby", "X-Renderiq-Platform": "sketchup", "X-Renderiq-Plugin-Version": "1.2.0"},
        "sketchup", "1.2.0",
    ),
    (
        {"User-Agent": "SketchUp Pro/24.0 (Windows) Renderiq-Plugin/SketchUp/1.2.0.beta1 Ruby/3.2.2"},
        "sketchup", "1.2.0.beta1",
    ),
    ({"User-Agent": "Renderiq-Plugin/Revit/2.1.0.345 (.NET 8.0.11; Windows NT 10.0.22631)"}, "revit", "2.1.0.345"),
    ({"User-Agent": "", "X-Renderiq-Platform": "Autodesk Revit/2.1.0"}, "revit", "2.1.0"),
    ({"User-Agent": "Renderiq-Plugin-AutoCAD/0.9.1 (.NET Framework 4.8.9232.0)"}, "autocad", "0.9.1"),
    ({"User-Agent": "Renderiq-Plugin/Rhino/3.0.0-rc.1 (.NET 7.0.20; macOS 15.1)"}, "rhino", "3.0.0-rc.1"),
    ({"User-Agent": "RestSharp/112.1.0.0", "X-Renderiq-Platform": "Rhino 8/3.0.0"}, "rhino", "3.0.0"),
    ({"User-Agent": "libcurl/8.9.1 Renderiq-Plugin/ArchiCAD/1.4.2"}, "archicad", "1.4.2"),
    (
        {"User-Agent": "Graphisoft-HTTP/1.0", "X-Renderiq-Platform": "GRAPHISOFT Archicad/1.4.2 (28.0.1 INT)"},
        "archicad", "1.4.2",
    ),
    (
        {"User-Agent": "Python-urllib/3.11", "X-Renderiq-Platform": "blender", "X-Renderiq-Plugin-Version": "1.0.0rc1"},
        "blender", "1.0.0rc1",
    ),
    ({"User-Agent": "Renderiq-Plugin/Blender/1.0.0 Blender/4.2.3 (linux; x86_64) Python/3.11.7"}, "blender", "1.0.0"),
    ({"User-Agent": "curl/8.5.0"}, "unknown", None),
    ({"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Renderiq/1.0"}, "unknown", None),
]  # fmt: skip


@pytest.fixture(scope="module")
def account(stack, new_account, snapshot_of):
    account_id, key = new_account(100)
    return Account(stack, account_id, key, snapshot_of(key))


@pytest.mark.parametrize(("headers", "platform", "version"), PLUGINS)
def test_each_plugins_headers_are_stored_with_its_render(account, headers, platform, version):
    order = account.order(quality="draft", headers=headers)
    assert order.status == 202, order.body
    told = {
        "sourcePlatform": platform,
        "pluginVersion": version,
        "userAgent": headers["User-Agent"],
        "callbackUrl": None,
    }
    assert order.json["metadata"] == told
    (stored,) = account.stack.sql(
        "SELECT r.metadata, k.account_id FROM renders r JOIN plugin_api_keys k ON k.id = r.key_id"
        " WHERE r.id = :id::uuid",
        id=order.json["id"],
    )
    assert (stored["metadata"], stored["account_id"]) == (told, account.id)
    listed = account.call("GET", f"/renders?platform={platform}").json["items"]
    assert order.json["id"] in [render["id"] for render in listed]
    assert {render["metadata"]["sourcePlatform"] for render in listed} == {platform}


def test_a_user_agent_is_kept_without_what_no_log_should_hold(account):
    order = account.order(quality="draft", headers={"User-Agent": "Renderiq-Plugin/Rhino/1.0 \x9b\x85" + "x" * 600})
    kept = order.json["metadata"]["userAgent"]
    assert kept.startswith("Renderiq-Plugin/Rhino/1.0 xxx")
    assert len(kept) == 500


def test_the_views_tell_renders_users_versions_and_key_use_of_a_day(stack, new_account, snapshot_of):
    """Beside what other tests leave: differences are looked at, and this test's own key."""
    users = [Account(stack, *made, None) for made in (new_account(50), new_account(50))]

    def count(view, column, where):
        found = stack.sql(f"SELECT coalesce(sum({column}), 0)::int AS n FROM {view} WHERE {where}")
        return found[0]["n"]

    looks = {
        "renders": ("adoption_daily", "renders", "day = (now() AT TIME ZONE 'UTC')::date AND platform = 'archicad'"),
        "users": ("adoption_daily", "users", "day = (now() AT TIME ZONE 'UTC')::date AND platform = 'archicad'"),
        "plugin users": ("plugin_users_daily", "users", "day = (now() AT TIME ZONE 'UTC')::date"),
        "version": ("plugin_versions_daily", "renders", "platform = 'archicad' AND plugin_version = '77.1'"),
    }
    before = {name: count(*look) for name, look in looks.items()}
    for user in users:
        user.upload = snapshot_of(user.key)
        for version in ("77.1", "77.2"):
            agent = {"User-Agent": f"Renderiq-Plugin/ArchiCAD/{version}", "Prefer": "wait=30"}
            assert user.order(quality="draft", headers=agent).json["status"] == "succeeded"
        user.order(quality="draft", headers={"User-Agent": "curl/8"})
    grown = {name: count(*look) - before[name] for name, look in looks.items()}
    assert grown == {"renders": 4, "users": 2, "plugin users": 2, "version": 2}
    (used,) = stack.sql(
        "SELECT name, renders, credits_charged FROM key_use_daily WHERE account_id = :id::uuid", id=users[0].id
    )
    assert (used["name"], used["renders"]) == ("key", 3)
    assert used["credits_charged"] >= 2
