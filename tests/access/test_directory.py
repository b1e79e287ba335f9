"""Virtual keys in memory: one look for all who ask, changes told and found out, bounds on age and number."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from bursar.access import directory as module
from bursar.access.directory import Directory
from bursar.domain.errors import StoreUnavailable
from bursar.domain.ids import KeyHash
from bursar.domain.principals import Principal, Role
from bursar.tasks import TaskOwner

KEY, OTHER = KeyHash("a" * 64), KeyHash("b" * 64)


def principal(key: KeyHash, alias: str = "") -> Principal:
    return Principal(role=Role.INTERNAL_USER, api_key=key, key_alias=alias)


class MemoryKeys:
    """A `ports.keys.KeyStore` in memory, which can be slow, and away."""

    def __init__(self) -> None:
        self.keys: dict[KeyHash, Principal] = {}
        self.looks: Counter[KeyHash] = Counter()
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()

    async def find(self, key: KeyHash) -> Principal | None:
        self.looks[key] += 1
        found = self.keys.get(key)  # read before the wait: what comes back may be old
        self.asked.set()
        await self.gate.wait()
        if self.away:
            raise StoreUnavailable("away")
        return found


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store() -> MemoryKeys:
    store = MemoryKeys()
    store.keys[KEY] = principal(KEY, "first")
    return store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tasks() -> AsyncIterator[TaskOwner]:
    owner = TaskOwner("test")
    yield owner
    await owner.cancel()


@pytest.fixture
def directory(store: MemoryKeys, clock: Clock, tasks: TaskOwner) -> Directory:
    return Directory(store, tasks, clock=clock, fresh_s=60.0)


async def test_one_look_is_enough(directory: Directory, store: MemoryKeys) -> None:
    assert directory.recall(KEY) is None
    found = [await directory.find(KEY) for _ in range(5)]
    assert {one and one.key_alias for one in found} == {"first"}
    assert directory.recall(KEY) is found[0]
    assert store.looks == {KEY: 1}


async def test_one_look_serves_all_who_ask_meanwhile(directory: Directory, store: MemoryKeys) -> None:
    store.gate.clear()
    asking = [asyncio.create_task(directory.find(key)) for key in (KEY, OTHER) * 50]
    await asyncio.sleep(0)
    store.gate.set()
    found = await asyncio.gather(*asking)
    assert found == [principal(KEY, "first"), None] * 50
    assert store.looks == {KEY: 1, OTHER: 1}


async def test_nobody_is_remembered_for_a_moment(directory: Directory, store: MemoryKeys, clock: Clock) -> None:
    assert await directory.find(OTHER) is None
    assert await directory.find(OTHER) is None
    assert store.looks[OTHER] == 1
    store.keys[OTHER] = principal(OTHER)
    clock.now += 5.1
    assert await directory.find(OTHER) == principal(OTHER)


async def test_a_new_key_is_known_as_soon_as_it_is_told(directory: Directory, store: MemoryKeys) -> None:
    assert await directory.find(OTHER) is None
    store.keys[OTHER] = principal(OTHER)
    directory.forget(OTHER)
    assert await directory.find(OTHER) == principal(OTHER)


async def test_a_stale_entry_is_served_while_it_is_looked_up_again(
    directory: Directory, store: MemoryKeys, clock: Clock, tasks: TaskOwner
) -> None:
    await directory.find(KEY)
    store.keys[KEY] = principal(KEY, "second")
    clock.now += 61
    assert directory.recall(KEY) == principal(KEY, "first")
    assert directory.recall(KEY) == principal(KEY, "first")
    await tasks.finish(1)
    assert store.looks[KEY] == 2, "one look-up for both"
    assert directory.recall(KEY) == principal(KEY, "second")


async def test_a_deleted_key_is_found_out(
    directory: Directory, store: MemoryKeys, clock: Clock, tasks: TaskOwner
) -> None:
    """Also when nobody told."""
    await directory.find(KEY)
    del store.keys[KEY]
    clock.now += 61
    directory.recall(KEY)
    await tasks.finish(1)
    assert directory.recall(KEY) is None
    assert await directory.find(KEY) is None
    assert store.looks[KEY] == 2


async def test_while_the_database_is_away_keys_live_for_ten_minutes(
    directory: Directory, store: MemoryKeys, clock: Clock, tasks: TaskOwner
) -> None:
    await directory.find(KEY)
    store.away = True
    for _ in range(9):
        clock.now += 61
        assert await directory.find(KEY) == principal(KEY, "first")
        await tasks.finish(1)
    assert store.looks[KEY] == 10, "tried again each time"
    clock.now += 61
    with pytest.raises(StoreUnavailable):
        await directory.find(KEY)
    assert directory.recall(KEY) is None
    store.away = False
    assert await directory.find(KEY) == principal(KEY, "first")


async def test_all_who_wait_hear_that_the_database_is_away(directory: Directory, store: MemoryKeys) -> None:
    store.gate.clear()
    store.away = True
    asking = [asyncio.create_task(directory.find(KEY)) for _ in range(5)]
    await asyncio.sleep(0)
    store.gate.set()
    for result in await asyncio.gather(*asking, return_exceptions=True):
        assert isinstance(result, StoreUnavailable)
    store.away = False
    assert await directory.find(KEY) is not None, "and it is not remembered"


async def test_what_was_read_before_a_change_is_not_remembered(directory: Directory, store: MemoryKeys) -> None:
    """The key is deleted while it is being looked up: who asked before gets the old answer, nobody after."""
    store.gate.clear()
    asking = asyncio.create_task(directory.find(KEY))
    await store.asked.wait()
    del store.keys[KEY]
    directory.forget(KEY)
    store.gate.set()
    assert await asking == principal(KEY, "first")
    assert directory.recall(KEY) is None
    assert await directory.find(KEY) is None


@pytest.mark.parametrize(("others", "remembered"), [(1, True), (module._CHANGES_MAX + 1, False)])
async def test_only_its_own_changes_make_a_look_worthless(
    directory: Directory, store: MemoryKeys, others: int, remembered: bool
) -> None:
    """So many other keys change meanwhile. What is beyond what is remembered of changes counts against the look."""
    store.gate.clear()
    asking = asyncio.create_task(directory.find(KEY))
    await store.asked.wait()
    for n in range(others):
        directory.forget(KeyHash(f"{n:064x}"))
    store.gate.set()
    assert await asking == principal(KEY, "first")
    assert (directory.recall(KEY) is not None) == remembered


async def test_a_refresh_does_not_bring_back_what_was_forgotten(
    directory: Directory, store: MemoryKeys, clock: Clock, tasks: TaskOwner
) -> None:
    await directory.find(KEY)
    clock.now += 61
    store.gate.clear()
    store.asked.clear()
    directory.recall(KEY)
    await store.asked.wait()
    del store.keys[KEY]
    directory.forget_all()
    store.gate.set()
    await tasks.finish(1)
    assert directory.recall(KEY) is None
    assert await directory.find(KEY) is None


async def test_what_the_database_tells(directory: Directory, store: MemoryKeys) -> None:
    """A hash is one key, a star is all of them."""
    store.keys[OTHER] = principal(OTHER)
    for key in (KEY, OTHER):
        await directory.find(key)
    directory.told(OTHER)
    assert directory.recall(OTHER) is None
    assert directory.recall(KEY) is not None
    directory.told("*")
    assert directory.recall(KEY) is None


async def test_who_is_cancelled_leaves_the_others_their_answer(directory: Directory, store: MemoryKeys) -> None:
    store.gate.clear()
    asking = [asyncio.create_task(directory.find(KEY)) for _ in range(4)]
    await store.asked.wait()
    asking[0].cancel()
    await asyncio.wait({asking[0]})
    store.gate.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == [principal(KEY, "first")] * 3
    assert store.looks[KEY] == 2, "one of those who waited asked anew, for all"


async def test_who_waits_can_be_cancelled_too(directory: Directory, store: MemoryKeys) -> None:
    """Also in the same moment as the one who asks for all."""
    store.gate.clear()
    asking = [asyncio.create_task(directory.find(KEY)) for _ in range(4)]
    await store.asked.wait()
    for task in asking[:3]:
        task.cancel()
    store.gate.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(result) for result in results[:3]] == [asyncio.CancelledError] * 3
    assert results[3] == principal(KEY, "first")


async def test_there_is_room_for_so_many(
    directory: Directory, store: MemoryKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEYS_MAX", 10)
    for number in range(25):
        await directory.find(KeyHash(f"{number:064}"))
    await directory.find(KEY)
    assert await directory.find(KEY) is not None
    assert store.looks[KEY] == 1
    await directory.find(KeyHash(f"{24:064}"))
    await directory.find(KeyHash(f"{0:064}"))
    assert store.looks[KeyHash(f"{24:064}")] == 1
    assert store.looks[KeyHash(f"{0:064}")] == 2, "the oldest made room"
