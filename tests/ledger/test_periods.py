"""Budget periods: a charge belongs to the windows its attempt was admitted to, where to none to the one that runs."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bursar.domain.accounting import AdjustBody, CallStatus, EndBody, Entry, Evidence, adjusted, unknown
from bursar.domain.ids import JournalId
from bursar.domain.limits import (
    GATEWAY,
    Budget,
    Scope,
    ScopeKind,
    key_period_scope,
    member_scope,
    model_scope,
    team_period_scope,
)
from bursar.domain.money import NanoUsd
from bursar.domain.periods import Calendar, next_reset
from bursar.domain.windows import Ask, Window, WindowId, force, window_id
from bursar.ledger.journal import Journal
from bursar.ports.budgets import BudgetAsk
from bursar.store.audit import audit
from bursar.store.budgets import PostgresBudgets
from bursar.store.database import Database
from bursar.store.resets import PeriodSweeper
from tests.ledger.entries import AT_US, KEY, call_entry, ids, settle_entry
from tests.ledger.test_totals import FAILURE, WHO, Ledger, answered, everybody

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)
SCOPES = {
    ScopeKind.KEY: Scope(ScopeKind.KEY, KEY),
    ScopeKind.USER: Scope(ScopeKind.USER, "u"),
    ScopeKind.TEAM: Scope(ScopeKind.TEAM, "t"),
    ScopeKind.TEAM_MEMBER: member_scope("t", "u"),
    ScopeKind.ORGANIZATION: Scope(ScopeKind.ORGANIZATION, "o"),
    ScopeKind.END_USER: Scope(ScopeKind.END_USER, "e"),
    ScopeKind.TAG: Scope(ScopeKind.TAG, "a"),
}
"""Everybody who has a part in the calls of `WHO`."""
MODELS_OF = (ScopeKind.KEY, ScopeKind.USER, ScopeKind.TEAM, ScopeKind.ORGANIZATION, ScopeKind.END_USER)
"""Whose use of single models may be limited."""
TABLES = {
    ScopeKind.KEY: ("VerificationToken", "token"),
    ScopeKind.USER: ("UserTable", "user_id"),
    ScopeKind.TEAM: ("TeamTable", "team_id"),
    ScopeKind.TEAM_MEMBER: ("TeamMembership", "user_id"),
    ScopeKind.ORGANIZATION: ("OrganizationTable", "organization_id"),
    ScopeKind.END_USER: ("EndUserTable", "user_id"),
    ScopeKind.TAG: ("TagTable", "tag_name"),
}
BEFORE = {ScopeKind.KEY: 500_000_000, ScopeKind.USER: 1_000_000_000}
"""What `everybody` has spent before."""


PERIODS = (
    """INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id) VALUES ('u', 't')""",
    """INSERT INTO "LiteLLM_EndUserTable" (user_id) VALUES ('e')""",
    """INSERT INTO "LiteLLM_TagTable" (tag_name) VALUES ('a')""",
    """UPDATE "LiteLLM_BudgetTable" SET budget_reset_at = '2100-01-01'""",
    *(
        f"""UPDATE "LiteLLM_{table}" SET budget_reset_at = '2100-01-01'"""
        for table in ("VerificationToken", "UserTable", "TeamTable")
    ),
    *(f"""UPDATE "LiteLLM_{table}" SET budget_id = 'b'""" for table in ("TeamMembership", "EndUserTable", "TagTable")),
)
"""Everybody has a budget that begins anew some day."""


@pytest.fixture
async def ledger(database: Database, tmp_path: Path) -> AsyncIterator[Ledger]:
    ledger = Ledger(database, tmp_path)
    await everybody(ledger)
    await ledger.do('UPDATE "LiteLLM_VerificationToken" SET total_spend = 0', *PERIODS)
    yield ledger
    ledger.close()


async def window(
    ledger: Ledger, whose: ScopeKind | Scope, ends: datetime, *, limit: int = 10_000_000_000, opening: int = 0
) -> WindowId:
    scope = whose if isinstance(whose, Scope) else SCOPES[whose]
    found = window_id(scope, ends.timestamp())
    await ledger.rows(
        "INSERT INTO bursar.windows (window_id, scope_kind, scope_id, ends_at, limit_nano_usd, opening_nano_usd,"
        " leased_nano_usd, spent_nano_usd) VALUES ($1, $2, $3, $4, $5, $6, $6, $6)",
        *(found, scope.kind, scope.id, ends, limit, opening),
    )
    return found


async def grant(ledger: Ledger, journal: Journal, *windows: WindowId, leased: int = 1_000_000) -> None:
    for each in windows:
        await ledger.rows(
            "INSERT INTO bursar.grants (window_id, instance_id, leased_nano_usd) VALUES ($1, $2, $3)",
            *(each, journal.id, leased),
        )
        await ledger.rows(
            "UPDATE bursar.windows SET leased_nano_usd = leased_nano_usd + $2 WHERE window_id = $1", each, leased
        )


async def figures(ledger: Ledger, of: WindowId) -> Window:
    [row] = await ledger.rows("SELECT * FROM bursar.windows WHERE window_id = $1", of)
    return Window(limit=row["limit_nano_usd"], leased=row["leased_nano_usd"], spent=row["spent_nano_usd"])


async def spend(ledger: Ledger, kind: ScopeKind) -> int:
    """What the table says of the current period, without what was there before."""
    [amount] = (await ledger.spend(f"LiteLLM_{TABLES[kind][0]}", TABLES[kind][1])).values() or [0]
    return round(amount) - BEFORE.get(kind, 0)


def pinned(entries: Sequence[Entry], *windows: WindowId, hold: int = 100) -> list[Entry]:
    """The same, with the attempt's end held of `windows`."""
    return [
        entry if entry.kind == "call" else msgspec.structs.replace(entry, windows=windows, hold_nano_usd=NanoUsd(hold))
        for entry in entries
    ]


def adjustment(number: int, difference: int, *windows: WindowId, seq: int = 0) -> Entry:
    call, attempt = ids(number)
    entry = adjusted(
        attempt_id=attempt,
        call_id=call,
        at_us=AT_US + 9_000_000,
        number=seq,
        difference=NanoUsd(difference),
        evidence=Evidence.PROVIDER,
        body=AdjustBody(reason="looked up"),
    )
    return pinned([entry], *windows, hold=0)[0] if windows else entry


ONE_TAG: dict[str, Any] = WHO | {"request_tags": ["a"]}


@pytest.mark.parametrize("kind", SCOPES)
async def test_a_charge_of_a_period_that_has_ended(ledger: Ledger, kind: ScopeKind) -> None:
    """It is the ended window's, and everybody's for life; of those who had no budget it is of now."""
    journal = ledger.journal()
    ended, current = await window(ledger, kind, PAST), await window(ledger, kind, FUTURE)
    await grant(ledger, journal, ended)
    await ledger.post(pinned(answered(1, 70, **ONE_TAG), ended), journal=journal)
    for other in SCOPES:
        assert await spend(ledger, other) == (0 if other is kind else 70), other
    assert (await figures(ledger, ended)).spent == 70
    assert await figures(ledger, current) == Window(limit=10_000_000_000, leased=0, spent=0)
    [key] = await ledger.rows('SELECT round((total_spend * 1e9)::numeric) AS all FROM "LiteLLM_VerificationToken"')
    assert key["all"] == 70
    assert [day["spend"] for entity in ("User", "Team") for day in await ledger.daily(entity)] == [70, 70]


@pytest.mark.parametrize("kind", SCOPES)
async def test_a_row_without_periods_is_of_all_time(ledger: Ledger, kind: ScopeKind) -> None:
    """The budget is configured elsewhere, as that of an end user by default: nobody sets the row's figure back."""
    journal = ledger.journal()
    ended = await window(ledger, kind, PAST)
    await grant(ledger, journal, ended)
    without = "budget_id" if kind not in (ScopeKind.KEY, ScopeKind.USER, ScopeKind.TEAM) else "budget_reset_at"
    if kind is ScopeKind.ORGANIZATION:
        await ledger.do('UPDATE "LiteLLM_BudgetTable" SET budget_reset_at = NULL')
    else:
        await ledger.do(f'UPDATE "LiteLLM_{TABLES[kind][0]}" SET {without} = NULL')
    await ledger.post(pinned(answered(1, 70, **ONE_TAG), ended), journal=journal)
    assert await spend(ledger, kind) == 70


@pytest.mark.parametrize("kind", SCOPES)
async def test_a_charge_of_the_period_that_runs(ledger: Ledger, kind: ScopeKind) -> None:
    journal = ledger.journal()
    current = await window(ledger, kind, FUTURE, opening=5)
    await grant(ledger, journal, current, leased=100)
    await ledger.post(pinned(answered(1, 70, **ONE_TAG), current), journal=journal)
    assert {other: await spend(ledger, other) for other in SCOPES} == dict.fromkeys(SCOPES, 70)
    assert await figures(ledger, current) == Window(limit=10_000_000_000, leased=105, spent=75)
    assert await ledger.rows("SELECT FROM bursar.windows WHERE forced_nano_usd <> 0") == []


@pytest.mark.parametrize("kind", SCOPES)
async def test_a_charge_that_nobody_held(ledger: Ledger, kind: ScopeKind) -> None:
    """Of a call that began before there was a budget: it counts in the window that runs, limit or not."""
    other = next(each for each in SCOPES if each is not kind)
    journal = ledger.journal()
    ended, current = await window(ledger, kind, PAST), await window(ledger, kind, FUTURE, limit=60, opening=5)
    held = await window(ledger, other, FUTURE)
    await grant(ledger, journal, held)
    before = await figures(ledger, current)
    await ledger.post(pinned(answered(1, 70, **ONE_TAG), held), journal=journal)
    assert await figures(ledger, current) == force(before, 70)
    assert (await figures(ledger, ended)).spent == 0
    assert (await figures(ledger, held)).spent == 70
    assert await spend(ledger, kind) == await spend(ledger, other) == 70
    [row] = await ledger.rows("SELECT forced_nano_usd AS n FROM bursar.windows WHERE window_id = $1", current)
    assert row["n"] == 70
    assert (await audit(ledger.database)).differences == []


@pytest.mark.parametrize("kind", SCOPES)
async def test_a_charge_that_nobody_held_when_periods_are_of_another_length(ledger: Ledger, kind: ScopeKind) -> None:
    """The one that was left runs on, and may come back: the charge counts in both."""
    both = [await window(ledger, kind, end, limit=60) for end in (FUTURE, FUTURE + timedelta(days=30))]
    await ledger.post(answered(1, 70, **ONE_TAG))
    assert [(await figures(ledger, one)).spent for one in both] == [70, 70]
    assert (await audit(ledger.database)).differences == []


@pytest.mark.parametrize("scope", [GATEWAY, *(model_scope(SCOPES[kind], "gpt-4o") for kind in MODELS_OF)])
async def test_a_charge_that_nobody_held_of_the_gateway_and_of_single_models(ledger: Ledger, scope: Scope) -> None:
    """They have no row of their own, and get what others get."""
    current = await window(ledger, scope, FUTURE, limit=60)
    await ledger.post(answered(1, 70, **ONE_TAG))
    await ledger.post(answered(2, 5, **ONE_TAG, model_group="another"))
    await ledger.post(answered(3, 3, **ONE_TAG, model_group="openai/gpt-4o"))
    assert (await figures(ledger, current)).spent == (78 if scope is GATEWAY else 73)
    longer = await window(ledger, model_scope(SCOPES[ScopeKind.TEAM], "openai/gpt-4o"), FUTURE)
    await ledger.post(answered(4, 2, **ONE_TAG, model_group="openai/gpt-4o"))
    assert (await figures(ledger, longer)).spent == 2
    assert (await figures(ledger, current)).spent == (80 if scope is GATEWAY else 75)
    assert (await audit(ledger.database)).differences == []


@pytest.mark.parametrize("table", ["VerificationToken", "TeamTable"])
async def test_a_charge_that_nobody_held_in_several_periods_at_once(ledger: Ledger, table: str) -> None:
    """In each of those that run; what is held of one is not booked there again."""
    scope_of = partial(key_period_scope, KEY) if table == "VerificationToken" else partial(team_period_scope, "t")
    await ledger.do(
        f"""UPDATE "LiteLLM_{table}" SET budget_limits =
        '[{{"budget_duration": "1d", "max_budget": 1}}, {{"budget_duration": "30d", "max_budget": 1}}, 5]'"""
    )
    found = []
    for duration in ("1d", "30d", "7d"):
        scope = scope_of(duration)
        found.append(window_id(scope, FUTURE.timestamp()))
        await ledger.rows(
            "INSERT INTO bursar.windows (window_id, scope_kind, scope_id, ends_at, limit_nano_usd, leased_nano_usd,"
            " spent_nano_usd) VALUES ($1, $2, $3, $4, 60, 0, 0)",
            *(found[-1], scope.kind, scope.id, FUTURE),
        )
    journal = ledger.journal()
    await grant(ledger, journal, found[0])
    await ledger.post(answered(1, 70, **ONE_TAG), pinned(answered(2, 5, **ONE_TAG), found[0]), journal=journal)
    assert [(await figures(ledger, each)).spent for each in found] == [75, 75, 0]
    assert (await audit(ledger.database)).differences == []


async def test_a_user_whom_only_the_call_names(ledger: Ledger) -> None:
    """Anybody could use up their budget."""
    user = SCOPES[ScopeKind.USER]
    current = [await window(ledger, scope, FUTURE) for scope in (user, model_scope(user, "gpt-4o"))]
    await ledger.post(answered(1, 70, user="u"))
    assert await spend(ledger, ScopeKind.USER) == 70
    assert [(await figures(ledger, each)).spent for each in current] == [0, 0]


async def test_passing_a_limit_is_told_once(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    await window(ledger, ScopeKind.TEAM, FUTURE, limit=100)
    for number in (1, 2, 3):
        await ledger.post(answered(number, 70, **ONE_TAG))
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert lines == ["budget.limit_passed kind=team scope=t limit=100 spent=140"]


async def test_a_guess_that_is_replaced_by_the_truth(ledger: Ledger) -> None:
    """Marked unknown, settled at its estimate when the time was up, and then looked up after all."""
    journal = ledger.journal()
    current = await window(ledger, ScopeKind.KEY, FUTURE)
    await grant(ledger, journal, current, leased=1000)
    call, attempt = ids(1)
    mark = unknown(attempt_id=attempt, call_id=call, at_us=AT_US, body=EndBody(reason="Timeout"))
    end = call_entry(1, status=CallStatus.FAILURE, error_information=FAILURE, **ONE_TAG)
    guess = msgspec.structs.replace(settle_entry(1, 900), evidence=Evidence.ESTIMATED)
    await ledger.post(pinned([mark], current, hold=900), [end], journal=journal)
    assert await figures(ledger, current) == Window(limit=10_000_000_000, leased=1000, spent=0)
    await ledger.post(pinned([guess], current, hold=900), journal=journal)
    row = await ledger.row()
    assert (row["spend"], row["metadata"]["bursar"]["evidence"]) == (9e-7, "estimated")
    for _ in range(2):  # the second time from elsewhere
        await ledger.post(
            [msgspec.structs.replace(adjustment(1, -650, current), owner=journal.id)], journal=ledger.journal()
        )
        row = await ledger.row()
        assert (row["spend"], row["metadata"]["bursar"]["evidence"]) == (2.5e-7, "provider")
        assert {other: await spend(ledger, other) for other in SCOPES} == dict.fromkeys(SCOPES, 250)
        assert await figures(ledger, current) == Window(limit=10_000_000_000, leased=1000, spent=250)
    assert (await audit(ledger.database)).differences == []


@pytest.mark.parametrize(("difference", "leased"), [(-650, 250), (50, 950)])
async def test_the_truth_comes_when_the_process_is_gone(ledger: Ledger, difference: int, leased: int) -> None:
    """Then nobody has the rest of its grant any more: what is leased moves with what is spent."""
    journal = ledger.journal()
    current = await window(ledger, ScopeKind.KEY, FUTURE)
    await grant(ledger, journal, current, leased=1000)
    await ledger.post(pinned(answered(1, 900, **ONE_TAG), current, hold=900), journal=journal)
    await PostgresBudgets(ledger.database).release(journal.id, 1, 0)
    assert (await figures(ledger, current)).leased == 900
    await ledger.post([msgspec.structs.replace(adjustment(1, difference, current), owner=journal.id)])
    assert await figures(ledger, current) == Window(limit=10_000_000_000, leased=leased, spent=leased)
    assert (await audit(ledger.database)).differences == []


async def test_the_truth_about_a_period_that_has_ended(ledger: Ledger) -> None:
    journal = ledger.journal()
    ended, current = await window(ledger, ScopeKind.KEY, PAST), await window(ledger, ScopeKind.KEY, FUTURE)
    await grant(ledger, journal, ended, leased=1000)
    await ledger.post(pinned(answered(1, 900, **ONE_TAG), ended), [adjustment(1, -650, ended)], journal=journal)
    assert await spend(ledger, ScopeKind.KEY) == 0
    assert await spend(ledger, ScopeKind.TEAM) == 250
    assert (await figures(ledger, ended)).spent == 250
    assert (await figures(ledger, current)).spent == 0


async def test_a_key_with_another_secret(ledger: Ledger) -> None:
    """Its windows stay under the first one, whichever it is called with, in one period and in the next."""
    tomorrow = next_reset("1d", datetime.now(UTC))
    await ledger.do(
        "UPDATE \"LiteLLM_VerificationToken\" SET token = 'new', budget_duration = '1d', spend = 0.5",
        f"INSERT INTO bursar.rotated_keys (token, active_token, scope_token) VALUES ('{KEY}', 'new', '{KEY}')",
    )
    journal = ledger.journal()
    ended, current = await window(ledger, ScopeKind.KEY, PAST), await window(ledger, ScopeKind.KEY, tomorrow)
    await grant(ledger, journal, ended)
    new = ONE_TAG | {"api_key": "new"}
    await ledger.post(
        pinned(answered(1, 70, **ONE_TAG), ended),
        pinned(answered(2, 10, **new), ended),
        answered(3, 5, **ONE_TAG),
        answered(4, 2, **new),
        journal=journal,
    )
    assert await spend(ledger, ScopeKind.KEY) == (await figures(ledger, current)).spent == 7
    assert (await figures(ledger, ended)).spent == 80
    await ledger.do("UPDATE \"LiteLLM_VerificationToken\" SET budget_reset_at = '2020-01-01'")
    assert await PeriodSweeper(ledger.database, Calendar()).sweep() == 1
    assert await spend(ledger, ScopeKind.KEY) + BEFORE[ScopeKind.KEY] == 7
    assert (await audit(ledger.database)).differences == []


async def test_the_truth_about_what_nobody_held(ledger: Ledger) -> None:
    """More counts now. Less lowers the table's figure, never below nothing, but no window: the charge may have been of
    an earlier period, whose money this one must not have."""
    current = await window(ledger, ScopeKind.TEAM, FUTURE)
    await ledger.post(answered(1, 900, **ONE_TAG))
    await ledger.post([adjustment(1, 100)], [adjustment(1, -400, seq=1)])
    assert await spend(ledger, ScopeKind.TEAM) == 600
    assert await figures(ledger, current) == Window(limit=10_000_000_000, leased=1000, spent=1000)
    await ledger.do('UPDATE "LiteLLM_TeamTable" SET spend = 0')
    await ledger.post([adjustment(1, -400, seq=2)])
    assert await spend(ledger, ScopeKind.TEAM) == 0


async def test_a_late_end_of_a_call_that_is_there(ledger: Ledger) -> None:
    journal = ledger.journal()
    ended = await window(ledger, ScopeKind.KEY, PAST)
    await grant(ledger, journal, ended)
    await ledger.post([call_entry(1, **ONE_TAG)], journal=journal)
    await ledger.post(pinned([settle_entry(1, 70)], ended), journal=journal)
    assert (await ledger.row())["spend"] == 7e-8
    assert await spend(ledger, ScopeKind.KEY) == 0
    assert await spend(ledger, ScopeKind.TEAM) == 70


async def test_the_table_shows_what_the_window_has(ledger: Ledger) -> None:
    """From one period to the next, however charges come: held before the end, held after it, by nobody."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    await ledger.rows(
        'UPDATE "LiteLLM_VerificationToken" SET budget_duration = $1, budget_reset_at = $2, spend = 0',
        *("1d", ends.replace(tzinfo=None)),
    )
    journal = ledger.journal()
    first = await window(ledger, ScopeKind.KEY, ends)
    await grant(ledger, journal, first)
    await ledger.post(pinned(answered(1, 70, **ONE_TAG), first), answered(2, 7, **ONE_TAG), journal=journal)
    assert await spend(ledger, ScopeKind.KEY) + BEFORE[ScopeKind.KEY] == (await figures(ledger, first)).spent == 77
    await asyncio.sleep((ends - datetime.now(UTC)).total_seconds() + 0.01)
    assert await PeriodSweeper(ledger.database, Calendar()).sweep() == 1
    [key] = await ledger.rows("SELECT budget_reset_at AT TIME ZONE 'UTC' AS ends FROM \"LiteLLM_VerificationToken\"")
    second = await window(ledger, ScopeKind.KEY, key["ends"])
    await grant(ledger, journal, second)
    await ledger.post(
        pinned(answered(3, 1000, **ONE_TAG), first),
        pinned(answered(4, 500, **ONE_TAG), second),
        answered(5, 3, **ONE_TAG),
        journal=journal,
    )
    assert await spend(ledger, ScopeKind.KEY) + BEFORE[ScopeKind.KEY] == (await figures(ledger, second)).spent == 503
    assert (await figures(ledger, first)).spent == 1077
    assert (await audit(ledger.database)).differences == []


async def test_a_window_that_is_made_meanwhile(ledger: Ledger) -> None:
    """It begins with what is spent at that moment, and nothing is missing from it or in it twice."""
    scope = SCOPES[ScopeKind.KEY]
    await ledger.do('UPDATE "LiteLLM_VerificationToken" SET spend = 0, max_budget = 10, budget_reset_at = NULL')
    journals = [ledger.journal() for _ in range(3)]
    budgets = PostgresBudgets(ledger.database)
    await ledger.post(answered(1, 1, **ONE_TAG), journal=journals[0])

    async def carry(worker: int, journal: Journal) -> None:
        for number in range(12):
            await ledger.post(answered(1000 * worker + number, 1, **ONE_TAG), journal=journal)

    async def make(number: int) -> None:
        await asyncio.sleep(0.02 * number)
        ask = Ask(window=window_id(scope, FUTURE.timestamp() + number), operation=1, need=1)
        asked = BudgetAsk(ask=ask, scope=scope, budget=Budget(NanoUsd(10**10)), ends_at_s=FUTURE.timestamp() + number)
        await budgets.exchange(JournalId(journals[0].id), 1, [asked])

    # The later a window is made, the later it ends: the first is the one that runs.
    await asyncio.gather(*[carry(*each) for each in enumerate(journals, 1)], make(1), make(3))
    made = await ledger.rows("SELECT * FROM bursar.windows ORDER BY ends_at")
    assert len(made) == 2
    assert made[0]["spent_nano_usd"] == 37 == await spend(ledger, ScopeKind.KEY) + BEFORE[ScopeKind.KEY]


@pytest.mark.parametrize("seed", range(4))
async def test_any_history_closes(ledger: Ledger, seed: int) -> None:
    """Held or not, of this period or another, corrected or not, twice or once, in any company: the auditor finds
    nothing, and each window has what is pinned to it and, while it runs, what nobody held."""
    draw = random.Random(seed)
    journal = ledger.journal()
    kinds = draw.sample(list(SCOPES), 3)
    windows = {kind: (await window(ledger, kind, PAST), await window(ledger, kind, FUTURE)) for kind in kinds}
    await grant(ledger, journal, *[each for both in windows.values() for each in both])
    expected = dict.fromkeys((each for both in windows.values() for each in both), 0)
    records: list[list[Entry]] = []
    late: list[list[Entry]] = []
    for number in range(1, 31):
        cost = draw.randint(0, 1000)
        pins = {kind: draw.choice(both) for kind, both in windows.items() if draw.random() < 0.7}
        settle, end = pinned(answered(number, cost, **ONE_TAG), *pins.values())
        records += [[settle, end]] if draw.random() < 0.7 else [[settle], [end]]
        more = draw.randint(0, 50) if draw.random() < 0.3 else 0
        if more:
            late.append([adjustment(number, more, *pins.values())])
        for kind in kinds:
            expected[pins.get(kind, windows[kind][1])] += cost + more
    records += draw.sample(records, 5)
    draw.shuffle(records)
    records += [*late, *late[:2]]
    while records:
        size = draw.randint(1, 8)
        await ledger.post(*records[:size], journal=journal)
        records = records[size:]
    assert {each: (await figures(ledger, each)).spent for each in expected} == expected
    for kind in kinds:
        assert await spend(ledger, kind) == expected[windows[kind][1]], kind
    assert (await audit(ledger.database)).differences == []
