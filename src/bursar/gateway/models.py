"""The models on offer: groups, their deployments, aliases and wildcards, and which of them a name means."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bursar.domain.errors import ConfigError, InvalidRequest, Unavailable
from bursar.domain.ids import DeploymentId
from bursar.domain.limits import Limits
from bursar.domain.permissions import matches_wildcard
from bursar.domain.prices import Price
from bursar.domain.routing import by_specificity
from bursar.ports.upstream import ChatUpstream, Timeouts

_WILDCARD_CACHE_MAX = 2000


class PriceSource(Protocol):
    """The price of one deployment over time."""

    def at(self, unix_s: float) -> Price | None:
        """What it costs at a moment; None: nobody knows."""


@dataclass(slots=True)
class Deployment:
    """One concrete upstream target."""

    id: DeploymentId
    group: str
    provider: str
    upstream_model: str
    """The provider's own name."""
    upstream: ChatUpstream | None
    """None: its provider's dialect is not in this release."""
    prices: PriceSource
    timeouts: Timeouts
    stream_timeouts: Timeouts
    limits: Limits | None = None
    """What it may be asked for at a time, by all callers."""
    weight: float | None = None
    rpm: int | None = None
    tpm: int | None = None
    blocked: bool = False
    """Paused by the operator: no calls."""
    access_groups: tuple[str, ...] = ()
    info: Mapping[str, object] = field(default_factory=dict)
    """`mode`, `max_input_tokens`, `max_output_tokens`, for `/v1/models`."""

    @property
    def qualified_model(self) -> str:
        """`<provider>/<model>`, as headers and log rows name it."""
        return f"{self.provider}/{self.upstream_model}"


@dataclass(slots=True, frozen=True)
class Group:
    """Deployments that serve the same name."""

    name: str
    deployments: tuple[Deployment, ...]

    @property
    def serving(self) -> Sequence[Deployment]:
        """The deployments that take calls. Raises Unavailable: all are paused."""
        if not any(deployment.blocked for deployment in self.deployments):
            return self.deployments
        serving = [deployment for deployment in self.deployments if not deployment.blocked]
        if not serving:
            raise Unavailable(f"Model '{self.name}' is currently paused and cannot accept requests.", retry_after_s=60)
        return serving

    @property
    def access_groups(self) -> frozenset[str]:
        """The access groups any of its deployments is in."""
        return frozenset(name for deployment in self.deployments for name in deployment.access_groups)

    @property
    def providers(self) -> frozenset[str]:
        """Of its deployments."""
        return frozenset(deployment.provider for deployment in self.deployments)


@dataclass(slots=True, frozen=True)
class Wildcard:
    """A group whose name holds `*`: its deployments are made when a name is asked for."""

    pattern: str
    make: Callable[[str], tuple[Deployment, ...]]
    """Deployments for a concrete name. Raises ConfigError: the name fits no provider."""
    access_groups: tuple[str, ...] = ()
    known_names: tuple[str, ...] = ()
    """What `/v1/models` shows in place of the pattern."""


@dataclass(slots=True, frozen=True)
class Alias:
    """Another name for a group."""

    target: str
    hidden: bool = False


class ModelTable:
    """Everything a name in a request can mean. Immutable but for a bounded cache of concrete wildcards."""

    def __init__(
        self,
        groups: Sequence[Group],
        *,
        aliases: Mapping[str, Alias],
        wildcards: Sequence[Wildcard] = (),
        meant: Mapping[str, str] | None = None,
        provider_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        """`meant`: see `ModelTable.meant`; `provider_of`: whose model a bare name is, so that `openai/*` serves
        `gpt-4o` too."""
        self._meant = meant or {}
        self._provider_of = provider_of
        self._groups = {group.name: group for group in groups}
        self._aliases = aliases
        order = by_specificity([wildcard.pattern for wildcard in wildcards])
        self._wildcards = sorted(wildcards, key=lambda wildcard: order.index(wildcard.pattern))
        self._by_id = {d.id: Group(g.name, (d,)) for g in groups for d in g.deployments}
        self._concrete: OrderedDict[str, Group] = OrderedDict()

    @property
    def groups(self) -> Sequence[Group]:
        """The groups with a plain name."""
        return list(self._groups.values())

    def meant(self, name: str) -> str:
        """What the configuration's map makes of a name, after a key and a team. Limits and books are the target's."""
        return self._meant.get(name, name)

    def find(self, name: str) -> Group:
        """The group that `name` means: by alias, exactly, by wildcard, or as a deployment's id.

        Raises InvalidRequest: nothing of that name is on offer.
        """
        alias = self._aliases.get(name)
        target = name if alias is None else alias.target
        group = self._groups.get(target) or self._concrete.get(target)
        if group is not None:
            return group
        if self._wildcards and (group := self._by_wildcard(target)) is not None:
            return self._remember(group)
        if (single := self._by_id.get(DeploymentId(target))) is not None:
            return single
        raise InvalidRequest(
            f"You passed in model={name}. There are no healthy deployments for this model. "
            "Call `/v1/models` to view the models available to your key.",
            param="model",
        )

    def _by_wildcard(self, target: str) -> Group | None:
        names = [target]
        if "/" not in target and (provider := self._provider_of(target)) is not None:
            names.append(f"{provider}/{target}")
        for name in names:
            for wildcard in self._wildcards:
                if matches_wildcard(wildcard.pattern, name):
                    try:
                        return Group(target, wildcard.make(name))
                    except ConfigError:
                        return None  # `openai/` fits `openai/*`, and names no model
        return None

    def _remember(self, group: Group) -> Group:
        self._concrete[group.name] = group
        if len(self._concrete) > _WILDCARD_CACHE_MAX:
            self._concrete.popitem(last=False)
        return group

    def listed(self, *, wildcards: bool) -> list[tuple[str, Group | None]]:
        """Names for `/v1/models`, in order, with their group where it is at hand; patterns too if asked for."""
        names: dict[str, Group | None] = {}
        for wildcard in self._wildcards:
            if wildcards:
                names[wildcard.pattern] = None
            names |= dict.fromkeys(wildcard.known_names)
        names |= self._groups
        for alias, to in self._aliases.items():
            if not to.hidden:
                names[alias] = self._groups.get(to.target)
        return sorted(names.items(), key=lambda item: item[0])

    def all_access_groups(self) -> list[str]:
        """Every access group that a model is in, sorted."""
        of_groups = {name for group in self._groups.values() for name in group.access_groups}
        return sorted(of_groups.union(*(wildcard.access_groups for wildcard in self._wildcards)))

    def access_groups_of(self, name: str) -> frozenset[str]:
        """The access groups of the group or wildcard that covers `name`."""
        if (group := self._groups.get(name)) is not None:
            return group.access_groups
        for wildcard in self._wildcards:
            if wildcard.pattern == name or matches_wildcard(wildcard.pattern, name):
                return frozenset(wildcard.access_groups)
        return frozenset()


class LiveModels:
    """The table in force. It is replaced whole: a call goes on with what it found, and each look finds one table."""

    __slots__ = ("table",)

    def __init__(self, table: ModelTable) -> None:
        self.table = table
