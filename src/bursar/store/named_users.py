"""Users whom somebody names by id or by e-mail address, to add them somewhere: who nobody knows yet is made."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import msgspec

from bursar.domain.audit import Action, Actor
from bursar.domain.errors import Forbidden, InvalidRequest
from bursar.domain.principals import RESERVED_USERS
from bursar.domain.team_roster import Member
from bursar.store.audit_log import record
from bursar.store.named_sql import load_named_sql
from bursar.store.rows import Row, batches, change, json_of, records_of

_SQL = load_named_sql("named_users")

SeesUser = Callable[[str, Sequence[str]], bool]
"""Whether whoever asks may see a user, who belongs to these organizations."""


async def identified(
    connection: Any,  # noqa: ANN401  # asyncpg
    members: Sequence[Member],
    *,
    actor: Actor,
    may_use: Callable[[Sequence[str]], Awaitable[None]] | None = None,
    sees: SeesUser | None = None,
    limits: Mapping[str, object] = {},
) -> list[tuple[Member, Row]]:
    """Members with their ids, and who they are: of those whom `sees` is not for, no more than was said, whether they
    existed or not. `may_use` raises for users who exist and must not be added; with it, new ids are those of nobody.
    Neither: whoever asks has rights on all users. `limits`: columns of those who are made.

    Raises InvalidRequest: an address that several have; Forbidden: an id that is not to be had.
    """
    addresses = [member.user_email.lower() for member in members if member.user_email and not member.user_id]
    ids = [member.user_id for member in members if member.user_id]
    rows = records_of(await connection.fetch(_SQL["users"], ids, addresses))
    by_id = {row["user_id"]: row for row in rows}
    by_address: dict[str, list[Row]] = {}
    for row in rows:
        by_address.setdefault(str(row["user_email"] or "").lower(), []).append(row)
    found: list[Member] = []
    missing: list[Member] = []
    for member in members:
        known = member
        if not member.user_id:
            named = by_address.get(str(member.user_email).lower(), [])
            if len(named) > 1:
                raise InvalidRequest(f"Several users have the address {member.user_email!r}.", param="user_email")
            known = msgspec.structs.replace(member, user_id=str(named[0]["user_id"]) if named else str(uuid4()))
        elif not member.user_email and member.user_id in by_id:
            address = by_id[member.user_id]["user_email"]
            known = msgspec.structs.replace(member, user_email=None if address is None else str(address))
        found.append(known)
        if known.user_id not in by_id:
            missing.append(known)
    if (sees is not None or may_use is not None) and any(member.user_id in RESERVED_USERS for member in found):
        raise Forbidden("This user id is the gateway's own.", param="user_id")
    if may_use is not None:
        await check_nobodys(connection, [str(member.user_id) for member in missing])
        await may_use([str(member.user_id) for member in found if member.user_id in by_id])
    for some in batches(missing):
        made = records_of(
            await connection.fetch(
                _SQL["make_users"], [m.user_id for m in some], [m.user_email for m in some], json_of(limits)
            )
        )
        by_id |= {row["user_id"]: row for row in made}
        told = [change(Action.CREATED, "LiteLLM_UserTable", row["user_id"], actor, after=row) for row in made]
        await record(connection, *told)
    known_users: list[tuple[Member, Row]] = [
        (member, by_id.get(member.user_id, {"user_id": member.user_id})) for member in found
    ]
    if sees is None:
        return known_users
    belong = await organizations_of(connection, [str(member.user_id) for member in found])
    return [
        (member, user) if sees(str(member.user_id), belong[str(member.user_id)]) else _unseen(member, said)
        for (member, user), said in zip(known_users, members, strict=True)
    ]


async def check_nobodys(connection: Any, user_ids: Sequence[str]) -> None:  # noqa: ANN401  # asyncpg
    """Raises Forbidden: keys or rosters have one of these ids already, of somebody who has no row. Whoever made him one
    would get rights over what is his."""
    if await connection.fetchval(_SQL["are_somebodys"], list(user_ids)):
        raise Forbidden("Only a proxy admin can make a user of an id that keys or teams have already.", param="user_id")


async def organizations_of(connection: Any, user_ids: Sequence[str]) -> dict[str, Sequence[str]]:  # noqa: ANN401
    """The organizations that each of `user_ids` belongs to, in the same order."""
    rows = await connection.fetch(_SQL["organizations_of"], list(user_ids))
    belong = {row["user_id"]: row["organizations"] for row in rows}
    return {user_id: belong.get(user_id, ()) for user_id in user_ids}


def _unseen(member: Member, said: Member) -> tuple[Member, Row]:
    user: Row = {"user_id": member.user_id, "user_email": said.user_email}
    return msgspec.structs.replace(member, user_email=said.user_email), user
