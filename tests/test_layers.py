"""Meshnode keeps the rules of `tests.layers`, and those rules find what breaks them."""

from pathlib import Path

import pytest

from tests.layers import (
    CHECKS,
    LAYERS,
    LEAVES,
    NEVER_TRIO,
    ONLY_IMPORTERS,
    PACKAGE,
    PURE,
    UNTESTED,
)

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("check", CHECKS)
def test_source_keeps_the_rule(check: str) -> None:
    """Meshnode's own source breaks no rule."""
    breaches = CHECKS[check](ROOT)
    assert not breaches, "\n" + "\n".join(breaches)


def _fake_tree(root: Path) -> Path:
    """Make a tree that keeps every rule, with a module for each name in a rule."""
    names = set(LEAVES) | set(UNTESTED) | set(NEVER_TRIO)
    names |= {f"{package}.thing" for package in LAYERS}
    names |= {name for layer in LAYERS.values() for name in layer.may if "." in name}
    names |= {name for name in PURE if "." in name}
    homes = {home for homes, _ in ONLY_IMPORTERS.values() for home in homes}
    names |= {name.replace("*", "a") for name in homes | set(PURE) if "." in name}
    names |= {"manage.uapi_server"}
    (root / PACKAGE).mkdir()
    (root / PACKAGE / "__init__.py").write_text('"""A package."""\n')
    for name in sorted(names):
        _write(root, name, '"""A module."""\n')
        *packages, leaf = name.split(".")
        test = root.joinpath("tests", "unit", *packages, f"test_{leaf}.py")
        test.parent.mkdir(parents=True, exist_ok=True)
        test.touch()
    return root


def _write(root: Path, name: str, text: str) -> None:
    path = root.joinpath(PACKAGE, *name.split(".")).with_suffix(".py")
    path.parent.mkdir(exist_ok=True)
    init = path.parent / "__init__.py"
    if not init.exists():
        init.write_text('"""A package."""\n')
    path.write_text(text)


@pytest.mark.parametrize("check", CHECKS)
def test_checker_passes_a_sound_tree(tmp_path: Path, check: str) -> None:
    """A tree that keeps the rules is not accused."""
    root = _fake_tree(tmp_path)
    _write(
        root,
        "dataplane.thing",
        '"""Uses what it may."""\n'
        "from meshnode.wireguard.replay import x\n"
        "from meshnode.wireguard import constants\n"
        "from meshnode.types import y\n"
        "import time\n",
    )
    _write(root, "manage.uapi_server", '"""A server."""\nimport trio\n')
    assert CHECKS[check](root) == []


BREACHES = [
    ("layers", "codec.thing", "from meshnode.crypto import keys", "no protocol"),
    ("layers", "crypto.thing", "import meshnode.wireguard.replay", "know no protocol"),
    ("layers", "wireguard.thing", "from meshnode.dataplane import thing", "sans-IO"),
    ("layers", "dataplane.thing", "from meshnode.wireguard import thing", "handshakes"),
    ("layers", "dataplane.thing", "from ..wireguard.thing import x", "handshakes"),
    ("layers", "host.thing", "def f():\n    import meshnode.codec.thing", "carries"),
    ("layers", "node.thing", "from meshnode.cli import thing", "commands"),
    ("layers", "manage.thing", "import meshnode.wireguard.thing", "does not run one"),
    ("layers", "cli.thing", "import meshnode.wireguard.thing", "manage only"),
    ("layers", "node.thing", "import meshnode.simulation.thing", "commands"),
    ("layers", "types", "import meshnode.codec.thing", "leaves"),
    ("layers", "novelty.thing", "", "no rule"),
    ("purity", "codec.thing", "import time", "simulation"),
    ("purity", "wireguard.thing", "from os import urandom", "simulation"),
    ("purity", "crypto.thing", "def f():\n    import secrets", "simulation"),
    ("purity", "manage.uapi", "import socket", "simulation"),
    ("purity", "ports", "import asyncio", "simulation"),
    (
        "purity",
        "codec.thing",
        "from datetime import datetime\nx = datetime.now()",
        "clock",
    ),
    ("purity", "codec.thing", "import datetime\nx = datetime.date.today()", "clock"),
    ("purity", "codec.thing", "x = open('file')", "opens a file"),
    ("importers", "wireguard.thing", "import hashlib", "crypto"),
    ("importers", "dataplane.thing", "from nacl import bindings", "libsodium"),
    ("importers", "dataplane.thing", "import trio", "shell"),
    ("importers", "manage.thing", "import trio.socket", "shell"),
    ("importers", "node.supervisor", "import trio", "poll loop"),
    ("importers", "node.thing", "import pyroute2", "asyncio loops"),
    ("importers", "manage.thing", "import click", "command"),
    ("importers", "node.thing", "from topology import hosts", "laboratory"),
    ("size", "codec.thing", "x = 1\n" * 600, "601 lines"),
    ("docstrings", "codec.thing", "def f():\n    pass", "codec.thing.f"),
    (
        "docstrings",
        "codec.thing",
        'class C:\n    """A class."""\n    async def m(self): pass',
        "C.m",
    ),
    ("tests", "codec.novelty", "def f(): pass", "test_novelty.py"),
]


@pytest.mark.parametrize(("check", "name", "source", "reason"), BREACHES)
def test_checker_finds_a_breach(
    tmp_path: Path, check: str, name: str, source: str, reason: str
) -> None:
    """Each rule, broken once, is reported, with its reason and nothing else."""
    root = _fake_tree(tmp_path)
    _write(root, name, f'"""A module."""\n{source}')
    breaches = CHECKS[check](root)
    assert breaches
    assert all(reason in breach for breach in breaches)


def test_checker_finds_a_missing_module_docstring(tmp_path: Path) -> None:
    """A module that does not say what it holds is reported."""
    root = _fake_tree(tmp_path)
    _write(root, "codec.thing", "x = 1\n")
    assert len(CHECKS["docstrings"](root)) == 1


def test_checker_finds_a_stale_rule(tmp_path: Path) -> None:
    """A rule on a package that is gone is reported, not silently kept."""
    root = _fake_tree(tmp_path)
    root.joinpath(PACKAGE, "wireguard", "cookie.py").unlink()
    assert CHECKS["rules"](root) == [
        "a rule names wireguard.cookie, which does not exist"
    ]
