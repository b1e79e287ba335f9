"""The second implementation of `ports.budgets.BudgetStore`: rows in dictionaries, the same decisions."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from bursar.domain.errors import JournalTaken, StoreUnavailable
from bursar.domain.ids import JournalId
from bursar.domain.windows import Answer, Grant, Window, WindowId, close, exchange
from bursar.ports.budgets import BudgetAsk


class MemoryBudgets:
    """Holds the windows of any number of instances in one event loop."""

    def __init__(self, *, delay_s: float = 0.0) -> None:
        self.windows: dict[WindowId, Window] = {}
        self.grants: dict[tuple[WindowId, JournalId], Grant] = {}
        self.instances: dict[JournalId, int] = {}
        self.alive: set[JournalId] = set()
        self.listeners: list[Callable[[str], None]] = []
        self.away = False
        self.lose_answers = 0
        """So many answers are lost after the exchange was made."""
        self.exchanges = 0
        self._delay_s = delay_s

    def register(self, instance: JournalId) -> int:
        self.alive.add(instance)
        return self.instances.setdefault(instance, 1)

    async def heartbeat(self, instance: JournalId, epoch: int) -> float:
        await asyncio.sleep(self._delay_s)
        if self.away:
            raise StoreUnavailable("away")
        if self.instances.get(instance, epoch) != epoch:
            raise JournalTaken("taken over")
        return time.time()

    async def exchange(self, instance: JournalId, epoch: int, asks: Sequence[BudgetAsk]) -> list[Answer]:
        await asyncio.sleep(self._delay_s)
        if self.away:
            raise StoreUnavailable("away")
        if self.instances.get(instance) != epoch or instance not in self.alive:
            raise JournalTaken("not alive")
        self.exchanges += 1
        answers = []
        for asked in asks:
            window_id, ask = asked.ask.window, asked.ask
            limit = asked.budget.limit_at(time.time())
            window = self.windows.get(window_id, Window(limit=limit, leased=0, spent=0))
            window = msgspec.structs.replace(window, limit=limit)
            grant = self.grants.get((window_id, instance), Grant())
            after, grant, answer = exchange(window, grant, ask, instances=len(self.alive))
            assert after.leased <= max(window.leased, window.limit)
            self.windows[window_id], self.grants[window_id, instance] = after, grant
            answers.append(answer)
            if after.leased < window.leased:
                self._tell(f"freed:{window_id}")
            elif ask.need and after.leased == window.leased and answer.elsewhere:
                self._tell(f"wanted:{window_id}:{instance}")
        if self.lose_answers:
            self.lose_answers -= 1
            raise StoreUnavailable("the answer is lost")
        return answers

    async def release(self, instance: JournalId, epoch: int, posted: int) -> None:
        if self.instances.get(instance) != epoch:
            raise JournalTaken("taken over")
        self.alive.discard(instance)
        for (window_id, owner), grant in list(self.grants.items()):
            if owner == instance:
                window, kept = close(self.windows[window_id], grant, held=0)
                self.windows[window_id], self.grants[window_id, owner] = window, kept

    def book(self, instance: JournalId, window_id: WindowId, cost: int) -> None:
        """What a poster does."""
        from bursar.domain.windows import book

        window, grant = book(self.windows[window_id], self.grants[window_id, instance], cost)
        self.windows[window_id], self.grants[window_id, instance] = window, grant

    def _tell(self, payload: str) -> None:
        loop = asyncio.get_running_loop()
        for listener in self.listeners:
            with suppress(RuntimeError):
                loop.call_soon(listener, payload)
