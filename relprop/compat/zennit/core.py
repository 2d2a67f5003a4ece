"""Composites, which say which rule goes on which module, and the contexts that they give."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor, nn

from relprop.compat.zennit.assignment import Named
from relprop.compat.zennit.canonizers import Canonizer, checked_canonizers
from relprop.compat.zennit.methods import Method, ModifiedGradientMethod, RelevanceMethod
from relprop.compat.zennit.modified import ModifiedModel
from relprop.compat.zennit.rules import Hook, RelevanceRule, ReluRule
from relprop.compat.zennit.stabilizer import Stabilizer
from relprop.errors import InvalidTypeError
from relprop.graph.outputs import Output

__all__ = [
    "BasicHook",
    "Composite",
    "CompositeContext",
    "Hook",
    "ModifiedModel",
    "Stabilizer",
    "stabilize",
]

#: From what was noted so far, a module's name, and the module, to its rule.
ModuleMap = Callable[[dict[Any, Any], str, nn.Module], Hook | None]


def stabilize(
    input: Tensor,
    epsilon: float = 1e-6,
    clip: bool = False,
    norm_scale: bool = False,
    dim: tuple[int, ...] | None = None,
) -> Tensor:
    """A tensor that can be divided by: see `Stabilizer`."""
    return Stabilizer(epsilon, clip, norm_scale, dim)(input)


class BasicHook(Hook):
    """A rule of one's own, made of functions: not possible here.

    Raises:
        InvalidTypeError: always.
    """

    def __init__(self, *functions: object, **more: object) -> None:
        raise InvalidTypeError(
            f"{type(self).__name__} cannot be a rule here, as modules are not hooked: use one of "
            "relprop.compat.zennit.rules, or write it as a rule of relprop.rules.lrp"
        )


class Composite:
    """Which rule goes on which module. Models are neither changed nor hooked.

    Args:
        module_map: a function of a dict, in which it may take notes, a module's name, and the
            module, to its rule; None for no rule. Modules come in the order in which the model
            calls them.
        canonizers: not needed; those of `relprop.compat.zennit` are accepted.

    Raises:
        InvalidTypeError: one of the canonizers would change the model.
    """

    #: The rule for ReLUs that are functions and no modules.
    relu: ReluRule | None = None

    def __init__(
        self,
        module_map: ModuleMap | None = None,
        canonizers: Iterable[Canonizer] | None = None,
    ) -> None:
        self.module_map: ModuleMap = module_map or _no_rule
        self.canonizers = checked_canonizers(canonizers)
        self._registered: ModifiedModel | None = None
        self._known: tuple[tuple[Any, ...], Method] | None = None

    def register(
        self, module: nn.Module, *, output: Output = None, unsupported: str = "error"
    ) -> ModifiedModel:
        """The model that is to be called in place of `module`, which stays as it is.

        Args:
            module: the model.
            output: which of several tensors to explain that it returns, as in `relprop.LRP`.
            unsupported: `"error"`, or `"gradient"` to cross operators without a rule by their
                gradient.

        Raises:
            InvalidTypeError: `module` is no module, or a rule is none of
                `relprop.compat.zennit.rules`.
        """
        self.forget()
        self._registered = ModifiedModel(module, self.method(module, output, unsupported))
        return self._registered

    def remove(self) -> None:
        """Forget the model; warns if it was never called in its modified form."""
        registered = self.forget()
        if registered is not None and not registered.asked:
            warnings.warn(
                "the model itself is never changed: call what the composite gives, as in "
                "`with composite.context(model) as modified: output = modified(x)`, or "
                "`modified = composite.register(model)`",
                UserWarning,
                stacklevel=3,
            )

    def forget(self) -> ModifiedModel | None:
        """Forget the model, if there is one, and give it."""
        registered, self._registered = self._registered, None
        return registered

    def context(
        self, module: nn.Module, *, output: Output = None, unsupported: str = "error"
    ) -> CompositeContext:
        """A context that gives the model to be called in place of `module`; see `register`."""
        return CompositeContext(module, self, output=output, unsupported=unsupported)

    def inactive(self) -> AbstractContextManager[None]:
        """A context for gradients of relevance: rules are never in the way of these here."""
        return nullcontext()

    def method(self, model: nn.Module, output: Output = None, unsupported: str = "error") -> Method:
        """What sends relevance back through a model; the last one is kept."""
        if not isinstance(model, nn.Module):
            raise InvalidTypeError(
                f"the model must be a torch.nn.Module; got {type(model).__name__}"
            )
        if self._registered is not None and self._registered.model is model:
            self._registered.asked = True
            return self._registered.method
        rules = self._rules(list(model.named_modules()))
        state = (model, output, unsupported, *rules)
        if self._known is None or not _same(self._known[0], state):
            self._known = state, self._method(model, rules, output, unsupported)
        return self._known[1]

    def _method(
        self, model: nn.Module, rules: list[Hook | None], output: Output, unsupported: str
    ) -> Method:
        if any(isinstance(rule, RelevanceRule) for rule in rules):
            return RelevanceMethod(model, self._rules, output, unsupported)
        return ModifiedGradientMethod(model, self._rules, self.relu, output)

    def _rules(self, named: Named) -> list[Hook | None]:
        """The rule for each module."""
        notes: dict[Any, Any] = {}
        return [_checked(self.module_map(notes, name, module), name) for name, module in named]


class CompositeContext:
    """Gives, within a `with`, the model that is to be called in place of `module`.

    Args:
        module: the model.
        composite: its rules.
        output, unsupported: as in `Composite.register`.
    """

    def __init__(
        self,
        module: nn.Module,
        composite: Composite,
        *,
        output: Output = None,
        unsupported: str = "error",
    ) -> None:
        self.module = module
        self.composite = composite
        self._settings: dict[str, Any] = {"output": output, "unsupported": unsupported}

    def __enter__(self) -> ModifiedModel:
        return self.composite.register(self.module, **self._settings)

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self.composite.remove()
        else:
            self.composite.forget()


def _no_rule(notes: dict[Any, Any], name: str, module: nn.Module) -> None:
    return None


def _checked(rule: object, name: str) -> Hook | None:
    if rule is None or isinstance(rule, (RelevanceRule, ReluRule)):
        return rule
    raise InvalidTypeError(
        f"the rule of module {name!r} must be one of those in relprop.compat.zennit.rules, such as "
        f"Epsilon(); got {type(rule).__module__}.{type(rule).__name__}"
    )


def _same(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Whether two tuples hold the same objects, or equal names."""
    return len(a) == len(b) and all(
        one is other or (isinstance(one, (str, int, tuple)) and one == other)
        for one, other in zip(a, b, strict=True)
    )
