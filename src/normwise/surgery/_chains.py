"""Chains of norm, activation and dropout that are provably nothing but that."""

from __future__ import annotations

from collections import Counter

from torch import fx, nn

from normwise.surgery._reach import reaches_into
from normwise.surgery._survey import Survey
from normwise.surgery._trace import CONTEXT, UntraceableError, is_watched, trace
from normwise.surgery._twins import DROPOUTS, FUSED, activation_name

_FUNCTIONS = {"relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid", "dropout"}


class Chains:
    """What follows each norm of a model, read from its forward pass.

    Where a module cannot be followed, the modules that it calls as a whole are followed one by one; a
    `Sequential` runs its children in order wherever it is.

    Attributes:
        links: name of a norm → names of the activation and the dropout that follow it, where there are any.
        reasons: name of a norm → why what follows it stays apart.
    """

    def __init__(self, survey: Survey) -> None:
        self.links: dict[str, tuple[str, ...]] = {}
        self.reasons: dict[str, str] = {}
        self._survey = survey
        self._untraced: dict[tuple[str, str], list[str]] = {}
        self._callers: dict[str, set[str]] = {}
        self._waiting = [""]
        seen: set[int] = set()
        while self._waiting:
            name = self._waiting.pop()
            module = survey.at[name]
            if id(module) not in seen and self._has_norms(module):
                seen.add(id(module))
                self._look_into(name, module)
        # A module that is traced by itself, and reached into by one above it, shows two sides.
        for norm in list(self.links):
            if any(len(self._callers[name]) > 1 for name in (norm, *self.links[norm])):
                del self.links[norm]
                self.reasons[norm] = "it is called from several modules"

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be followed, one sentence for modules of one class."""
        sentences = []
        for (kind, reason), names in self._untraced.items():
            shown = ", ".join(_quoted(name) for name in names[:2])
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            sentences.append(
                f"{kind} ({shown}{more}) could not be traced, so only what it calls as a whole was: {reason}"
            )
        return tuple(sentences)

    def _has_norms(self, module: nn.Module) -> bool:
        """Whether there are norms inside of the module."""
        return any(type(inner) in FUSED and inner is not module for inner in module.modules())

    def _look_into(self, root: str, module: nn.Module) -> None:
        if _only_holds(module):
            self._waiting.extend(_children(root, module))
            return
        try:
            graphs, opaque = trace(module)
        except UntraceableError as error:
            self._open(root, error.reason)
            return
        self._read(root, graphs)
        for name, reason in opaque.items():
            self._open(_join(root, name), reason)
        for name in {str(call.target) for graph in graphs for call in _calls(graph)} - opaque.keys():
            inner = _join(root, name)
            if is_watched(self._survey.at[inner]):
                self._waiting.append(inner)
            else:
                self._waiting.extend(_children(inner, self._survey.at[inner]))

    def _open(self, name: str, reason: str) -> None:
        """Go on with the children of a module that cannot be followed."""
        module = self._survey.at[name]
        if not self._has_norms(module):
            return
        self._untraced.setdefault((type(module).__name__, reason), []).append(name)
        for child in _children(name, module):
            inner = self._survey.at[child]
            last = child.rpartition(".")[2]
            if type(inner) in FUSED:
                self.reasons[child] = f"{_quoted(name)} could not be traced"
            elif _only_holds(inner) or not reaches_into(module, last):
                self._waiting.append(child)
            else:
                for deeper, norm in inner.named_modules(prefix=child):
                    if type(norm) in FUSED:
                        self.reasons[deeper] = f"{_quoted(name)} does more with `{last}` than to call it"

    def _read(self, root: str, graphs: list[fx.Graph]) -> None:
        """Take the chains on which all graphs of one module agree."""
        counts = [Counter(str(call.target) for call in _calls(graph)) for graph in graphs]
        found: dict[str, list[tuple[list[str], str]]] = {}
        for graph, count in zip(graphs, counts, strict=True):
            for call in _calls(graph):
                self._callers.setdefault(_join(root, str(call.target)), set()).add(root)
                if type(self._survey.at[_join(root, str(call.target))]) in FUSED:
                    found.setdefault(str(call.target), []).append(self._follow(root, call, count))
        for name, readings in found.items():
            links: list[str] = []
            for candidates in zip(*(reading for reading, _ in readings), strict=False):
                # Where the norm does not run, in one of the modes, neither may what goes into it.
                apart = any(count[candidates[0]] != count[name] for count in counts)
                if apart or len(set(candidates)) > 1:
                    break
                links.append(candidates[0])
            reason = next((reason for _, reason in readings if reason), "")
            if links:
                self.links[_join(root, name)] = tuple(_join(root, link) for link in links)
            elif reason or any(reading for reading, _ in readings):
                self.reasons[_join(root, name)] = reason or "what follows differs between the modes"

    def _follow(self, root: str, norm: fx.Node, count: Counter[str]) -> tuple[list[str], str]:
        """The links behind one call of a norm in one graph, and why there are none, if there could be."""
        links: list[str] = []
        activated = False
        node = norm
        while True:
            users = list(node.users)
            if len(users) != 1 or users[0].op != "call_module":
                return links, "" if links else _why_apart(users)
            call = users[0]
            link = self._survey.at[_join(root, str(call.target))]
            if call.args != (node,) or call.kwargs:
                return links, ""
            if type(link) is nn.Identity and self._survey.obstacle(link) is None:
                node = call
                continue
            last = type(link) in DROPOUTS
            if not last and (activated or activation_name(link) is None):
                return links, ""
            reason = self._apart(root, norm, call, count)
            if reason:
                return links, "" if links else reason
            links.append(str(call.target))
            if last:
                return links, ""
            activated = True
            node = call

    def _apart(self, root: str, norm: fx.Node, call: fx.Node, count: Counter[str]) -> str:
        """Why what follows a norm must stay apart from it; "" where it need not."""
        first = self._survey.at[_join(root, str(norm.target))]
        name = _join(root, str(call.target))
        link = self._survey.at[name]
        if count[str(norm.target)] > 1:
            return "it is called more than once"
        if self._survey.shared(first):
            return "it stands at several places"
        if count[str(call.target)] > 1:
            return f"`{name}` is called more than once"
        if self._survey.shared(link):
            return f"`{name}` stands at several places"
        if link.training != first.training:
            return f"`{name}` is in another mode"
        if call.meta[CONTEXT] != norm.meta[CONTEXT]:
            return f"`{name}` is called under another mode of gradients or autocast"
        obstacle = self._survey.obstacle(link)
        return "" if obstacle is None else f"`{name}`: {obstacle}"


def _why_apart(users: list[fx.Node]) -> str:
    if len(users) > 1:
        return "its output is used more than once"
    if users and users[0].op in ("call_function", "call_method"):
        target = users[0].target
        name = (target if isinstance(target, str) else getattr(target, "__name__", "")).rstrip("_")
        if name in _FUNCTIONS:
            return f"{name} is called as a function, which has no place to give up"
    return ""


def _only_holds(module: nn.Module) -> bool:
    """Whether this is a list or a dictionary of modules, which is not called."""
    return type(module).forward is nn.Module.forward and "forward" not in vars(module)


def _calls(graph: fx.Graph) -> list[fx.Node]:
    return [node for node in graph.nodes if node.op == "call_module"]


def _children(name: str, module: nn.Module) -> list[str]:
    return [_join(name, child) for child, inner in module._modules.items() if inner is not None]


def _quoted(name: str) -> str:
    return f"`{name}`" if name else "the model"


def _join(*parts: str) -> str:
    return ".".join(part for part in parts if part)
