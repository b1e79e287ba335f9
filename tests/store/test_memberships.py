"""Where users belong."""

from bursar.domain.principals import Memberships, Role
from bursar.store.database import Database
from bursar.store.memberships import PostgresMemberships

WORLD = """
INSERT INTO "LiteLLM_BudgetTable" (budget_id, created_by, updated_by) VALUES ('b', '', '');
INSERT INTO "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by, updated_by)
    VALUES ('led', '', 'b', '', ''), ('joined', '', 'b', '', ''), ('other', '', 'b', '', '');
INSERT INTO "LiteLLM_UserTable" (user_id, teams) VALUES ('u', '{t-led,t-joined,t-stale,t-gone}'), ('v', '{}');
INSERT INTO "LiteLLM_TeamTable" (team_id, organization_id, members_with_roles) VALUES
    ('t-led', NULL, '[{"role": "admin", "user_id": "u", "user_email": null}, {"role": "user", "user_id": "v"}]'),
    ('t-joined', NULL, '[{"role": "user", "user_id": "u"}, {"role": "admin", "user_id": "v"}]'),
    ('t-stale', NULL, '[{"role": "admin", "user_id": "v"}]'),
    ('t-by-membership', NULL, '[{"role": "user", "user_id": "u"}]'),
    ('t-of-led', 'led', '{}'),
    ('t-of-joined', 'joined', '{}');
UPDATE "LiteLLM_TeamTable" SET team_member_permissions = '{/key/info,/key/list}' WHERE team_id IN ('t-joined', 't-led');
UPDATE "LiteLLM_TeamTable" SET team_member_permissions = NULL WHERE team_id = 't-by-membership';
INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id) VALUES ('u', 't-by-membership');
INSERT INTO "LiteLLM_OrganizationMembership" (user_id, organization_id, user_role)
    VALUES ('u', 'led', 'org_admin'), ('u', 'joined', 'internal_user'), ('v', 'other', NULL);
"""


async def test_what_a_user_is_where(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(WORLD)
    memberships = PostgresMemberships(database)
    found = await memberships.find("u")
    assert found == Memberships(
        teams=frozenset({"t-led", "t-joined", "t-by-membership"}),
        administered_teams=frozenset({"t-led"}),
        organizations=frozenset({"led", "joined"}),
        administered_organizations=frozenset({"led"}),
        teams_of_organizations=frozenset({"t-of-led"}),
        member_permissions={"t-joined": frozenset({"/key/info", "/key/list"}), "t-by-membership": frozenset()},
    )
    assert found.roles == {Role.TEAM_ADMIN, Role.ORG_ADMIN}
    assert (await memberships.find("v")).roles == frozenset()
    assert await memberships.find("nobody") == Memberships()
