"""Has LiteLLM's SDK know us: by name in its lists, and by the seed's import path. Once a process.

LiteLLM has no plugin hook, and passes over names it does not know; so one callback is put into `litellm.callbacks`,
which looks for its names in the lists at each event. Apps that assign those lists later would take it out: the module
is given a class that puts it back in.
"""

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bursar.sdk.litellm_callback import NamedCallback

_LITELLM = "litellm"
_CALLBACK = "bursar.sdk.litellm_callback"
"""Our module that imports it."""
_SEED_PATH = "litellm.integrations.prisma_proxy"
_LISTS = frozenset({"callbacks", "success_callback", "failure_callback"})
_GUARD = "BURSAR_SDK_GUARD_LISTS"


class Installation:
    """What is registered in this process."""

    def __init__(self) -> None:
        self.callback: NamedCallback | None = None

    def install(self) -> "NamedCallback":
        """Register with LiteLLM; the callback that answers to its names. Repeating it changes nothing.

        Raises ImportError: LiteLLM is not installed.
        """
        import litellm  # which installs us, if we wait for it

        if self.callback is None:
            from bursar.sdk import litellm_callback

            self.callback = litellm_callback.NamedCallback()
            _register_seed_path(litellm_callback)
            if os.environ.get(_GUARD, "").lower() not in ("0", "false", "off", "no"):
                litellm.__class__ = _guarded(type(litellm), self.callback)
            if self.callback not in litellm.callbacks:
                litellm.callbacks.append(self.callback)
        return self.callback

    def install_with_litellm(self) -> None:
        """The same now if the app has imported LiteLLM, else when it does: importing us must not take as long."""
        if _LITELLM in sys.modules:
            self.install()
        else:
            sys.meta_path.insert(0, _WhenImported(self))


def _register_seed_path(litellm_callback: ModuleType) -> None:
    alias = ModuleType(_SEED_PATH, litellm_callback.__doc__)
    alias.PrismaProxyLogger = litellm_callback.SpendCallback  # type: ignore[attr-defined]
    sys.modules[_SEED_PATH] = alias
    integrations = sys.modules.get(_SEED_PATH.rpartition(".")[0])
    if integrations is not None:
        integrations.prisma_proxy = alias  # type: ignore[attr-defined]


def _guarded(module_class: type[ModuleType], callback: "NamedCallback") -> type[ModuleType]:
    class GuardedModule(module_class):  # type: ignore[misc, valid-type]
        """LiteLLM, whose `callbacks` never lack ours."""

        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name in _LISTS:
                callbacks = self.__dict__.get("callbacks")
                if isinstance(callbacks, list) and callback not in callbacks:
                    callbacks.append(callback)

    return GuardedModule


class _WhenImported(importlib.abc.MetaPathFinder):
    """Notices LiteLLM's import, and that of our module that needs it: where that comes first, LiteLLM is there while
    ours is still half made. Their own loaders stay, which LiteLLM's resources are found by. Apps may look for it
    without importing it: what they find is as good."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in (_LITELLM, _CALLBACK):
            return None
        others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        loader = None if spec is None else spec.loader
        if loader is None:
            return spec
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            if fullname == _LITELLM and _CALLBACK in sys.modules:
                return  # ours imports it, and is not done
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            self._installation.install()

        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
