"""What one process may spend of each budget window: the arithmetic of holds, in memory.

    free = leased - spent - held

A call takes its hold out of all its windows at once or out of none; what it cost replaces the hold. `leased` changes by
exchanges with the database (`domain.windows`), at most one under way for each window.
"""

from collections.abc import Sequence

from bursar.domain.limits import Scope
from bursar.domain.windows import Answer, Ask, WindowId

_FIRST_WANT = 16
"""Without a past to go by, ask for so many calls like the one that is waiting."""
_RECENT_S = 60.0


class Share:
    """This process's part of one window. Amounts in nano-dollars."""

    __slots__ = (
        "_asked",
        "_recent",
        "_recent_since_s",
        "calls",
        "committed",
        "ends_at_s",
        "held",
        "known",
        "leased",
        "limit",
        "operation",
        "recalled",
        "scope",
        "spent",
        "spent_everywhere",
        "used_at_s",
        "window",
    )

    def __init__(self, window: WindowId, scope: Scope, ends_at_s: float | None) -> None:
        self.window = window
        self.scope = scope
        self.ends_at_s = ends_at_s
        self.leased = 0
        self.spent = 0
        self.held = 0
        self.calls = 0
        """How many hold something."""
        self.operation = 0
        self.recalled = False
        """Others are short of it: what is not used goes back at once."""
        self.known = False
        """The database has answered about it at least once."""
        self.limit = 0
        """As of the last answer, as what follows."""
        self.spent_everywhere = 0
        self.committed = 0
        self.used_at_s = 0.0
        self._asked: Ask | None = None
        self._recent = 0.0
        self._recent_since_s = 0.0

    @property
    def free(self) -> int:
        """What can be held. Negative after a charge that was above its hold."""
        return self.leased - self.spent - self.held

    @property
    def asked(self) -> Ask | None:
        """The exchange under way."""
        return self._asked

    @property
    def idle(self) -> bool:
        """Nobody holds anything, and no exchange is under way."""
        return self.calls == 0 and self._asked is None

    @property
    def rest(self) -> int:
        """What the window had left to give away, as of the last answer."""
        return max(0, self.limit - self.committed)

    def ask(self, *, need: int, now_s: float, give_back: int = 0, want: int = 0) -> Ask:
        """The next exchange, or the one under way, which may have been lost: it is the same again.

        What is given back is gone from here at once. `want`: more than the recent past would ask for.
        """
        if self._asked is None:
            give_back = min(give_back, max(self.free, 0))
            before, self.leased = self.leased, self.leased - give_back
            recent = int(self._recent) if self._recent else _FIRST_WANT * need
            self._asked = Ask(
                window=self.window,
                operation=self.operation + 1,
                leased=before,
                give_back=give_back,
                need=need,
                want=max(need, want, recent),
            )
            self.used_at_s = now_s
        return self._asked

    def answered(self, answer: Answer) -> None:
        """The exchange under way was made. An answer to an older one says nothing new.

        One to a later one means that this process has forgotten a share that it had used up: it goes on from there.
        """
        if self._asked is None or answer.operation < self._asked.operation:
            return
        if answer.operation > self._asked.operation:
            self.spent += answer.leased - self.leased
        self._asked = None
        self.operation = answer.operation
        self.leased = answer.leased
        self.limit = answer.limit
        self.spent_everywhere = answer.spent
        self.committed = answer.committed
        self.recalled = answer.scarce
        self.known = True

    def settle(self, *, hold: int, cost: int, now_s: float) -> None:
        """What was held came out at `cost`."""
        self.held -= hold
        self.calls -= 1
        self.spent += cost
        self.used_at_s = now_s
        passed_s = now_s - self._recent_since_s
        if passed_s > 0:  # a sum that forgets within a minute
            self._recent *= max(0.0, 1.0 - passed_s / _RECENT_S)
            self._recent_since_s = now_s
        self._recent += cost


def try_hold(shares: Sequence[Share], amount: int) -> Share | None:
    """Hold `amount` in all of them. Returns the first one that has not enough, and then none has changed."""
    for share in shares:
        if share.leased - share.spent - share.held < amount:
            return share
    for share in shares:
        share.held += amount
        share.calls += 1
    return None


def settle(shares: Sequence[Share], *, hold: int, cost: int, now_s: float) -> None:
    """The call that held `hold` in all of them cost `cost`; 0 when it was void."""
    for share in shares:
        share.settle(hold=hold, cost=cost, now_s=now_s)
