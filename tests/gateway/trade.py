"""A little trade with a gateway, beside what its provider billed: for tests of what people ask the books."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from bursar.oracle.bill import BillLine
from bursar.oracle.serving import RunningOracle
from tests.gateway.running import MASTER_KEY, Books, Gateway

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sale:
    """A call that was answered, and its line on the bill."""

    user: str
    session: str | None
    agent: str | None
    line: BillLine

    @property
    def model(self) -> str:
        """As log rows name it."""
        return f"openai/{self.line.model}"

    @property
    def tokens(self) -> int:
        """All that were billed."""
        return self.line.prompt_tokens + self.line.completion_tokens


_PLAN: list[tuple[str, str, bool, str | None, str | None]] = [
    ("ann", "at/tokens=5", False, "s-1", "clerk"),
    ("ann", "at/tokens=7&cached=2", False, "s-1", "clerk"),
    ("ann", "at/tokens=3", True, "s-1", "clerk"),
    ("ann", "at/tokens=5", False, "s-2", "clerk"),
    ("bob", "at/tokens=5", False, "s-3", "scout"),
    ("bob", "at/tokens=40&reasoning=4", True, "s-3", "scout"),
    ("bob", "at/tokens=7&cached=2", False, None, None),
    ("root", "at/tokens=3", False, None, None),
]
"""Who asks which model, streamed or not, in which session, by which agent."""
FAILED_MODEL = "openai/oracle?fault=status:500"


async def trade(gateway: Gateway, oracle: RunningOracle, books: Books) -> list[Sale]:
    """Some calls of three callers and one that fails, of Ann's; what was sold, in that order."""
    await books.fetch("INSERT INTO \"LiteLLM_TeamTable\" (team_id, updated_at) VALUES ('t', now())")
    keys = {
        "ann": await gateway.new_key(user_id="ann", key_alias="ann's", max_budget=5.0, team_id="t"),
        "bob": await gateway.new_key(user_id="bob", key_alias="bob's"),
        "root": MASTER_KEY,
    }
    told: list[tuple[str, str | None, str | None, str]] = []
    for user, model, stream, session, agent in _PLAN:
        await asyncio.sleep(0.002)  # log rows tell milliseconds: nobody's order is left to chance
        names = {"session_id": session, "agent_name": agent, "conversation_name": session and f"about {session}"}
        answer = await gateway.chat(
            model,
            key=keys[user],
            stream=stream,
            user="customer",
            headers={"x-litellm-tags": "red"} if user == "bob" else None,
            metadata={name: value for name, value in names.items() if value is not None},
        )
        assert answer.status == 200, answer.body
        told.append((user, session, agent, (answer.chunk_objects[0] if stream else answer.json)["id"]))
    await asyncio.sleep(0.002)
    assert (await gateway.chat("at/fault=status:500", key=keys["ann"])).status == 500
    lines = {line.id: line for line in oracle.bill()}
    assert len(lines) == len(told)
    await books.posted()
    # A call without an owner is put down to the body's user.
    return [Sale("customer" if user == "root" else user, session, agent, lines[i]) for user, session, agent, i in told]


def by(things: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Those together that have the same `key`."""
    found: dict[K, list[T]] = {}
    for thing in things:
        found.setdefault(key(thing), []).append(thing)
    return found


def cost(sales: Iterable[Sale]) -> int:
    """Nano-dollars."""
    return sum(sale.line.cost_nano_usd for sale in sales)
