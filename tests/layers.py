"""Rules on the shape of the source: who may import whom, sizes, docstrings, tests.

The rules are data (`LAYERS` and the tables below it) with the reason each one exists;
a breach is reported with that reason. The checks take the source tree as an argument,
so that they are tested themselves, on small trees that break one rule each.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "meshnode"

MAX_LINES = 600


@dataclass(frozen=True, slots=True)
class Layer:
    """What one package may import of meshnode, and why not more.

    `may` holds dotted names below `meshnode`; a package stands for all it holds.
    Leaves and the package itself are always allowed.
    """

    may: frozenset[str]
    reason: str


def _layer(may: str, reason: str) -> Layer:
    return Layer(frozenset(may.split()), reason)


LEAVES = frozenset(
    (
        *("errors", "types", "values", "deadlines", "ports", "forwarding", "hostplan"),
        "offloads",
        "channels",
        "steering",
    )
)
LEAF_REASON = "leaves are values of the standard library that every layer may hold"

LAYERS = {
    "crypto": _layer("", "primitives know no protocol"),
    "codec": _layer("", "bytes to values and back: no keys, no time, no protocol"),
    "wireguard": _layer("crypto codec", "sans-IO: what it needs comes as arguments"),
    "mesh": _layer(
        "crypto codec wireguard",
        "sans-IO: membership stands on sessions, and knows no shell",
    ),
    "dataplane": _layer(
        "crypto codec wireguard.constants wireguard.replay wireguard.allowed_ips "
        "wireguard.cookie",
        "workers hold session keys only: they know packets, not handshakes",
    ),
    "host": _layer("", "the operating system knows nothing of what it carries"),
    "proxy": _layer(
        "codec crypto.passwords crypto.primitives",
        "a listener knows no network: outlets and names are given; of crypto it needs "
        "what passwords are compared with",
    ),
    "names": _layer("codec", "a zone is values; who is a member comes as an argument"),
    "capture": _layer("codec", "it writes what it is given, and knows no session"),
    "node": _layer(
        "crypto codec wireguard mesh dataplane host manage proxy names capture",
        "the shell is above all but the commands",
    ),
    "manage": _layer(
        "crypto codec wireguard.config mesh proxy.http_rules proxy.http_changes",
        "it speaks of a device, it does not run one; rules are read where they stand",
    ),
    "cli": _layer(
        "crypto.keys manage node capture codec.tap",
        "a command talks to manage only, and reads the tap itself: no other process "
        "looks at captured packets",
    ),
    "simulation": _layer(
        "crypto codec wireguard mesh dataplane host node manage proxy names capture",
        "the simulated world may see everything but the commands",
    ),
}

PURE = (
    *("crypto", "codec", "wireguard", "mesh", "capture"),
    *sorted(LEAVES),
    *("manage.uapi", "proxy.forwards"),
    *("proxy.http_hosts", "proxy.http_rules", "proxy.http_targets"),
    *("proxy.http_heads", "proxy.http_headers", "proxy.http_answers"),
    *("proxy.http_pac", "proxy.http_changes"),
    *("proxy.socks_messages", "proxy.socks_dialogue", "proxy.reach"),
    *("proxy.exit_rules", "proxy.mesh_names", "proxy.password_guard"),
    *("names.table", "names.reverse", "names.message", "names.zone", "names.limits"),
    *("host.steer_text", "node.steer_plan", "node.learnt_names"),
)
"""Packages and modules whose time, entropy and input are arguments."""

PURE_REASON = "the same code must run in the seeded simulation"
IMPURE_MODULES = frozenset(
    (
        *("time", "socket", "os", "random", "secrets", "threading", "asyncio", "trio"),
        *("select", "subprocess", "multiprocessing", "importlib", "tempfile"),
        "pathlib",
    )
)
IMPURE_CLOCKS = frozenset(("now", "utcnow", "today"))

ONLY_IMPORTERS = {
    "nacl": (("crypto",), "one place to judge what we ask of libsodium"),
    "hashlib": (("crypto",), "hashes have their paper's names, in crypto"),
    "hmac": (("crypto",), "comparisons and MACs have one home"),
    "cryptography": ((), "the library is an oracle in tests only"),
    "pyroute2": (("host",), "its core runs asyncio loops of its own"),
    "miniupnpc": (("host",), "an optional extra, behind one door"),
    "h11": (
        ("manage.*_server", "proxy.http_*"),
        "one HTTP parser, where HTTP is spoken",
    ),
    "dnslib": (("names",), "one place that speaks DNS"),
    "jeepney": (("host.resolved",), "one service of the bus is asked, in one place"),
    "click": (("cli",), "what is not a command must not need one"),
    "asyncio": ((), "the shell is Trio"),
    "trio": (
        (
            *("host", "node", "manage.*_server", "names.*_server", "names.forwarder"),
            *("proxy.*_server", "proxy.*_outlet", "proxy.outlets", "proxy.upstream"),
            *("proxy.splice", "proxy.host_sockets", "proxy.socks_relay"),
            *("proxy.http_peer", "proxy.http_exchange", "proxy.users"),
        ),
        "tasks live in the shell; workers and the pure core have none",
    ),
    "topology": ((), "the laboratory is for tests and tools"),
    "tests": ((), "tests test, they are not used"),
    "tools": ((), "tools use us, not we them"),
}

NEVER_TRIO = ("node.supervisor",)
NEVER_TRIO_REASON = "the supervisor is small: a poll loop that outlives every child"

UNTESTED = {
    "__main__": "one line, run by the end-to-end tests",
    "ports": "Protocols without code",
    "mesh.ports": "a Protocol and values without code",
    "mesh.path_ports": "Protocols without code",
    "proxy.credentials": "a Protocol without code",
    "proxy.outlets": "Protocols, and an exception that the servers' tests raise",
}
"""Modules without a unit test of their own, and why."""


@dataclass(frozen=True, slots=True)
class Module:
    """One source file: its dotted name below the package, text and syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        """The first part of the name."""
        return self.name.partition(".")[0]


def load(root: Path) -> list[Module]:
    """Read every module of the package in *root*."""
    base = root / PACKAGE
    modules = []
    for path in sorted(base.rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text()
        modules.append(Module(name, path, text, ast.parse(text)))
    return modules


def imports(module: Module, known: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Yield the full dotted names a module imports, with line numbers.

    *known* tells `from package import module` from `from module import name`.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            source = _source(module, node)
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                yield (whole if whole in known else source), node.lineno


def _source(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    here = [PACKAGE, *module.name.split(".")]
    if module.path.name == "__init__.py":
        here.append("")
    return ".".join([*here[: -node.level], *([node.module] if node.module else [])])


def _within(name: str, roots: tuple[str, ...] | frozenset[str]) -> bool:
    for root in roots:
        before, star, after = root.partition("*")
        if star and name.startswith(before) and name.endswith(after):
            return True
        if name == root or name.startswith(f"{root}."):
            return True
    return False


def layer_breaches(modules: list[Module]) -> Iterator[str]:
    """Report imports that go up or sideways, and packages without a rule."""
    known = frozenset(f"{PACKAGE}.{module.name}".rstrip(".") for module in modules)
    for module in modules:
        if not module.name or module.name == "__main__":
            continue
        leaf = module.package in LEAVES
        if not leaf and module.package not in LAYERS:
            yield f"{module.name}: no rule says what {module.package} may import"
            continue
        may, reason = (
            (frozenset[str](), LEAF_REASON)
            if leaf
            else (LAYERS[module.package].may, LAYERS[module.package].reason)
        )
        for target, line in imports(module, known):
            inner = target.removeprefix(f"{PACKAGE}.")
            if not target.startswith(f"{PACKAGE}."):
                continue
            allowed = may | LEAVES | {module.package}
            if not _within(inner, allowed):
                yield f"{module.name}:{line} imports {inner}: {reason}"


def purity_breaches(modules: list[Module]) -> Iterator[str]:
    """Report clocks, randomness and input in pure modules."""
    known = frozenset(f"{PACKAGE}.{module.name}" for module in modules)
    for module in modules:
        if not _within(module.name, PURE):
            continue
        for target, line in imports(module, known):
            if target.partition(".")[0] in IMPURE_MODULES:
                yield f"{module.name}:{line} imports {target}: {PURE_REASON}"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr in IMPURE_CLOCKS:
                if "date" in ast.unparse(node.value):
                    yield f"{module.name}:{node.lineno} reads a clock: {PURE_REASON}"
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "open":
                yield f"{module.name}:{node.lineno} opens a file: {PURE_REASON}"


def importer_breaches(modules: list[Module]) -> Iterator[str]:
    """Report libraries imported outside their one home."""
    known = frozenset(f"{PACKAGE}.{module.name}" for module in modules)
    for module in modules:
        for target, line in imports(module, known):
            library = target.partition(".")[0]
            homes, reason = ONLY_IMPORTERS.get(library, ((module.name or "*",), ""))
            if not _within(module.name, homes):
                yield f"{module.name}:{line} imports {library}: {reason}"
            if library == "trio" and module.name in NEVER_TRIO:
                yield f"{module.name}:{line} imports trio: {NEVER_TRIO_REASON}"


def stale_rules(modules: list[Module]) -> Iterator[str]:
    """Report rules that name what no longer exists."""
    names = {module.name for module in modules}
    homes = {home for homes, _ in ONLY_IMPORTERS.values() for home in homes}
    allowed = {name for layer in LAYERS.values() for name in layer.may}
    for name in sorted(
        set(LAYERS)
        | LEAVES
        | set(PURE)
        | homes
        | allowed
        | set(NEVER_TRIO)
        | set(UNTESTED)
    ):
        if not any(_within(module, (name,)) for module in names):
            yield f"a rule names {name}, which does not exist"


def size_breaches(modules: list[Module]) -> Iterator[str]:
    """Report modules too long to hold in the head."""
    for module in modules:
        lines = module.text.count("\n")
        if lines > MAX_LINES:
            yield f"{module.name}: {lines} lines, more than {MAX_LINES}: split it"


def docstring_breaches(modules: list[Module]) -> Iterator[str]:
    """Report public modules, classes and functions without a docstring."""
    for module in modules:
        for name, node in _public(module.tree, module.name or PACKAGE):
            if not ast.get_docstring(node):
                yield f"{name}: public, but says nothing of what it does"


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _public(node: Documented, name: str) -> Iterator[tuple[str, Documented]]:
    yield name, node
    if not isinstance(node, ast.Module | ast.ClassDef):
        return
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {ast.unparse(decorator) for decorator in child.decorator_list}
            known = any(d.endswith((".setter", "overload")) for d in decorators)
            if not child.name.startswith("_") and not known:
                yield from _public(child, f"{name}.{child.name}")


def untested_modules(modules: list[Module], root: Path) -> Iterator[str]:
    """Report modules that hold code but have no unit test file."""
    for module in modules:
        functions = (
            node
            for node in ast.walk(module.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )
        if module.path.name == "__init__.py" or module.name in UNTESTED:
            continue
        if not any(functions):
            continue
        *packages, leaf = module.name.split(".")
        test = Path("tests", "unit", *packages, f"test_{leaf}.py")
        if not (root / test).exists():
            yield f"{module.name}: has no {test}"


CHECKS: dict[str, Callable[[Path], list[str]]] = {
    "layers": lambda root: list(layer_breaches(load(root))),
    "purity": lambda root: list(purity_breaches(load(root))),
    "importers": lambda root: list(importer_breaches(load(root))),
    "rules": lambda root: list(stale_rules(load(root))),
    "size": lambda root: list(size_breaches(load(root))),
    "docstrings": lambda root: list(docstring_breaches(load(root))),
    "tests": lambda root: list(untested_modules(load(root), root)),
}
