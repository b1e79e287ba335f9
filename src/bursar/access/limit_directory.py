"""Limits of end users and tags in memory: nothing is asked while nobody has any, and each is looked up once a minute.

As for keys, an entry is trusted while it is fresh, served once more while it is looked up again in the background, and
forgotten after ten minutes. Look-ups of one moment go together. Those who are not in the database are remembered too:
anybody can be named in a request.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bursar.domain.errors import StoreError, StoreUnavailable, Unauthenticated
from bursar.domain.limits import Budget, Limits, Scope, ScopeKind
from bursar.domain.money import NanoUsd
from bursar.ports.limits import AnyLimits, LimitStore, NamedLimits
from bursar.tasks import TaskOwner

log = logging.getLogger(__name__)

_FRESH_S = 60.0
_MAX_AGE_S = 600.0
_ENTRIES_MAX = 200_000
_BATCH_MAX = 1000
_NOTHING = NamedLimits(None)
_NO_LIMITS: tuple[Limits, ...] = ()


@dataclass(slots=True)
class _Known:
    found: NamedLimits
    fetched_s: float
    of_key: tuple[Limits, Limits] | None = None
    """What a key last said of end users without limits of their own, and the same for this one: made once, since what
    is known of calls hangs on it."""

    def limits(self, scope: Scope, default: Limits | None) -> Limits | None:
        """Theirs, or by `default`, where a key says what they have that have none of their own."""
        found = self.found
        if (
            default is None
            or scope.kind is not ScopeKind.END_USER
            or (found.limits is not None and not found.by_default)
        ):
            return found.limits
        if self.of_key is None or self.of_key[0] != default:
            self.of_key = default, default.of(scope)
        return self.of_key[1]


class LimitDirectory:
    """Implements `ports.limits.LimitLookup`."""

    def __init__(
        self,
        store: LimitStore,
        tasks: TaskOwner,
        *,
        clock: Callable[[], float],
        default_budget: NanoUsd | None = None,
    ) -> None:
        """`default_budget`: of end users that have none, where the configuration states it as an amount."""
        self._store = store
        self._tasks = tasks
        self._clock = clock
        self._default_budget = default_budget
        self._any: AnyLimits | None = None
        self._any_fetched_s = 0.0
        self._known: OrderedDict[Scope, _Known] = OrderedDict()
        self._wanted: dict[Scope, None] = {}
        self._ask_any = False
        self._round: asyncio.Future[None] | None = None
        """The look-up that those who ask now wait for."""
        self._changes = 0

    def recall(self, end_user: str, tags: Sequence[str], default: Limits | None = None) -> tuple[Limits, ...] | None:
        """See `ports.limits.LimitLookup.recall`."""
        if not end_user and not tags:
            return _NO_LIMITS
        now_s = self._clock()
        if self._any is None or (age_s := now_s - self._any_fetched_s) > _MAX_AGE_S:
            return None
        if age_s > _FRESH_S:
            self._ask_any = True
            self._look_up()
        scopes = self._scopes(self._any, end_user, tags, default)
        if not scopes:
            return _NO_LIMITS
        found: list[Limits] = []
        missing = False
        for scope in scopes:
            known = self._known.get(scope)
            if known is None or now_s - known.fetched_s > _MAX_AGE_S:
                missing = True
                continue
            if now_s - known.fetched_s > _FRESH_S:
                self._wanted[scope] = None
                self._look_up()
            if known.found.blocked:
                raise Unauthenticated(
                    f"Authentication Error, End User={scope.id} is blocked. "
                    "Update via `/customer/unblock` if you're an admin."
                )
            if (limits := known.limits(scope, default)) is not None:
                found.append(limits)
        return None if missing else tuple(found)

    def _scopes(self, any_: AnyLimits, end_user: str, tags: Iterable[str], default: Limits | None) -> list[Scope]:
        """Whom it is worth while to look up."""
        named = []
        by_default = default is not None or any_.default is not None or self._default_budget is not None
        if end_user and (any_.end_users or by_default):
            named.append(Scope(ScopeKind.END_USER, end_user))
        if any_.tags:
            named += [Scope(ScopeKind.TAG, tag) for tag in tags]
        return named

    async def find(self, end_user: str, tags: Sequence[str], default: Limits | None = None) -> tuple[Limits, ...]:
        """See `ports.limits.LimitLookup.find`."""
        while (found := self.recall(end_user, tags, default)) is None:
            now_s = self._clock()
            if self._any is None or now_s - self._any_fetched_s > _MAX_AGE_S:
                self._ask_any = True
            else:
                for scope in self._scopes(self._any, end_user, tags, default):
                    known = self._known.get(scope)
                    if known is None or now_s - known.fetched_s > _MAX_AGE_S:
                        self._wanted[scope] = None
            await asyncio.shield(self._look_up())
        return found

    def _look_up(self) -> asyncio.Future[None]:
        """Have all that is wanted looked up; done when it has been. Raises StoreError."""
        if self._round is None:
            self._round = asyncio.get_running_loop().create_future()
            self._tasks.start(self._rounds(), "limits")
        return self._round

    async def _rounds(self) -> None:
        """Look up until nothing is wanted. What is asked for during one round comes in the next."""
        await asyncio.sleep(0)  # so that those who ask in this turn come along
        while (round_ := self._round) is not None:
            wanted = list(self._wanted)[:_BATCH_MAX]
            ask_any, self._ask_any = self._ask_any, False
            if not wanted and not ask_any:
                self._round = None
                round_.set_result(None)
                return
            for scope in wanted:
                del self._wanted[scope]
            self._round = asyncio.get_running_loop().create_future()
            try:
                await self._fetch(wanted, ask_any=ask_any)
            except StoreError as error:
                log.warning("limits.look_up_failed reason=%s", error)
                self._give_up(round_, error)
                return
            except BaseException:
                self._give_up(round_, StoreUnavailable("the look-up was broken off"))
                raise
            round_.set_result(None)

    def _give_up(self, current: asyncio.Future[None], error: StoreError) -> None:
        """Tell all who wait, for this round or for the next."""
        following, self._round = self._round, None
        self._wanted.clear()
        for waiting in (current, following):
            if waiting is not None:
                waiting.set_exception(error)
                waiting.exception()  # if nobody waits, that is no news

    async def _fetch(self, wanted: Sequence[Scope], *, ask_any: bool) -> None:
        changes = self._changes
        if ask_any:
            any_ = await self._store.any()
            if changes == self._changes:
                self._any, self._any_fetched_s = any_, self._clock()
        if wanted:
            end_users = [scope.id for scope in wanted if scope.kind is ScopeKind.END_USER]
            tags = [scope.id for scope in wanted if scope.kind is ScopeKind.TAG]
            found = await self._store.find(end_users, tags)
            # Else what was read may be older than what was told, or what everybody has is not known any more.
            if changes == self._changes and self._any is not None:
                for scope in wanted:
                    self._remember(scope, found.get(scope, _NOTHING))

    def _remember(self, scope: Scope, found: NamedLimits) -> None:
        if scope.kind is ScopeKind.END_USER:
            found = self._with_default(scope, found)
        self._known[scope] = _Known(found, self._clock())
        self._known.move_to_end(scope)
        while len(self._known) > _ENTRIES_MAX:
            self._known.popitem(last=False)

    def _with_default(self, scope: Scope, found: NamedLimits) -> NamedLimits:
        """What is configured for end users without a budget of their own."""
        if found.limits is not None:
            return found
        default = None if self._any is None else self._any.default
        if default is not None:
            return NamedLimits(default.of(scope), found.blocked, by_default=True)
        if self._default_budget is not None:
            limits = Limits(scope=scope, budget=Budget(self._default_budget))
            return NamedLimits(limits, found.blocked, by_default=True)
        return found

    def told(self, payload: str) -> None:
        """Somebody's limits have changed: `end_user:<id>`, `tag:<name>`; empty: anybody's."""
        kind, _, name = payload.partition(":")
        if kind in (ScopeKind.END_USER, ScopeKind.TAG) and name:
            self._changes += 1
            self._known.pop(Scope(ScopeKind(kind), name), None)
            self._any = None  # this may be the first
        else:
            self.forget_all()

    def forget_all(self) -> None:
        """Changes may have been missed."""
        self._changes += 1
        self._known.clear()
        self._any = None
