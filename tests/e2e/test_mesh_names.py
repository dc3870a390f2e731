"""Names of members: real programs ask a node's resolver, and leave no trace.

Two nodes; the C library, `dig` and `host` are the clients. A namespace's resolv.conf
is /etc/netns/NAME/resolv.conf, mounted over the host's by `ip netns exec`.
"""

import ipaddress
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.mesh_parts import MeshHost, Site, leftovers, traces, until
from tests.unit.host.fake_bus import FakeBus
from topology.hosts import Lab, wait_until
from topology.mesh import installed_command

BEFORE = "# by hand\nnameserver 127.0.0.9\noptions timeout:1 attempts:1\n"
OUTSIDE = "203.0.113.7"
ROOT = Path(__file__).parents[2]


class Names:
    """Two nodes; the second is asked."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.etc = Path("/etc/netns")
        self.site = Site(lab)
        self.anna, self.bert = (self.site.host(name) for name in ("anna", "bert"))
        self.directory = self.etc / self.bert.host.namespace
        self.directory.mkdir(parents=True)
        self.file = self.directory / "resolv.conf"
        self.file.write_text(BEFORE)

    def close(self) -> None:
        """Remove the namespace's files of /etc."""
        shutil.rmtree(self.directory)

    def await_resolver(self) -> None:
        """Wait until the node answers for names."""
        query = f"dig +time=1 +tries=1 +short @{self.bert.address} anna.home.mesh"
        until(lambda: self.ask(query) == [self.anna.address], "the resolver answers")

    def ask(self, command: str, *, at: MeshHost | None = None) -> list[str]:
        """Return the lines that a client prints, whether it finds something or not."""
        host = (at or self.bert).host
        return host.run(command, check=False, timeout=20).stdout.split("\n")[:-1]


@pytest.fixture
def names(lab: Lab) -> Iterator[Names]:
    """Two hosts that have no network yet."""
    one = Names(lab)
    try:
        yield one
    finally:
        one.close()


def begin(names: Names, manage: str) -> None:
    """Make the network; bert's host is told of the names as *manage* says."""
    names.anna.found()
    names.anna.up()
    bert = names.bert
    bert.run("join", "-", "--name", bert.name, "--no-up", stdin=names.anna.invite())
    with bert.config_file.open("a") as config:
        config.write(f'\n[dns]\nmanage = "{manage}"\n')
    bert.up()
    bert.await_peers("anna")


def test_members_are_found_by_real_clients(names: Names) -> None:
    """By dig, host, the C library and the node's command; killed, it leaves nothing."""
    before = traces(names.bert.host)
    begin(names, "resolv.conf")
    anna, bert = names.anna, names.bert
    until(lambda: bert.status()["dns"]["by"] == "resolv.conf", "the host is told")
    names.await_resolver()
    server = f"@{bert.address}"
    # dig, over UDP and TCP, IPv4 and IPv6, both ways.
    assert names.ask(f"dig {server} +short anna.home.mesh") == [anna.address]
    assert names.ask(f"dig {server} +tcp +short AAAA ANNA.home.mesh") == [anna.address6]
    assert names.ask(f"dig @{bert.address6} +short -x {anna.address}") == [
        "anna.home.mesh."
    ]
    assert names.ask(f"dig {server} +short -x {anna.address6}") == ["anna.home.mesh."]
    assert "NXDOMAIN" in "\n".join(names.ask(f"dig {server} nobody.home.mesh"))
    assert "REFUSED" in "\n".join(names.ask(f"dig {server} www.example.org"))
    # A member may ask; a host outside of the overlay gets no answer.
    wait_until(lambda: anna.answers(bert.address), "anna reaches bert")
    assert names.ask(f"dig {server} +short bert.home.mesh", at=anna) == [bert.address]
    # The C library and host, by resolv.conf, and the short name by its search list.
    assert names.ask("getent ahostsv4 anna")[0].split()[0] == anna.address
    assert names.ask(f"getent hosts {anna.address6}")[0].split() == [
        anna.address6,
        "anna.home.mesh",
    ]
    assert f"anna.home.mesh has address {anna.address}" in names.ask("host anna")
    assert bert.json("dns", "query", "anna")["records"][0]["data"] == anna.address
    assert bert.run("dns", "query", "nobody", check=False).returncode == 3
    # Who joins is found as soon as the table is another.
    carl = names.site.host("carl")
    carl.join(anna.invite())
    bert.await_peers("anna", "carl")
    look_up = f"dig {server} +short carl.home.mesh"
    until(lambda: names.ask(look_up) == [carl.address], "the table is another")
    assert names.ask("getent ahostsv4 carl")[0].split()[0] == carl.address
    # A dead resolver is back at once, and knows everybody.
    process = bert.roles()["proxy"]
    bert.host.run(f"kill -9 {process}")
    until(lambda: bert.roles().get("proxy", process) != process, "it is back")
    names.await_resolver()
    assert names.ask(look_up) == [carl.address]
    # And kill -9 of everything leaves what `cleanup` undoes.
    assert "home" in names.file.read_text()
    bert.kill()
    assert names.file.read_text() != BEFORE
    assert "restored /etc/resolv.conf" in bert.run("cleanup").stdout
    assert names.file.read_text() == BEFORE
    assert leftovers(bert.host, before) == []
    for host in (anna, carl):
        host.down()


def test_other_names_are_forwarded_and_the_host_is_left_as_it_was(
    names: Names,
) -> None:
    """Upstream is another resolver; `down` gives resolv.conf back, control may die.

    Nothing is written before the configuration asks for it, and `reload` follows that.
    """
    begin(names, "auto")
    anna, bert = names.anna, names.bert
    until(lambda: bool(bert.status()["dns"]["problem"]), "resolved was looked for")
    known = bert.status()["dns"]
    assert known["by"] is None
    assert 'manage = "resolv.conf"' in known["problem"]
    assert f"dig @{bert.address} NAME.home.mesh" in bert.run("status").stdout
    assert bert.status()["health"] == []
    assert names.file.read_text() == BEFORE
    text = bert.config_file.read_text()
    bert.config_file.write_text(text.replace('"auto"', '"resolv.conf"'))
    bert.run("reload")
    assert bert.status()["dns"]["by"] == "resolv.conf"
    upstream = anna.host.start(
        [
            *("env", f"PYTHONPATH={ROOT}", sys.executable),
            *("-m", "tests.e2e.outside_resolver", "198.18.0.1"),
        ]
    )
    wait_until(lambda: "serving" in upstream.output, "the outside is there")
    text = bert.config_file.read_text()
    upstream_line = 'manage = "resolv.conf"\nupstream = ["198.18.0.1:53"]'
    bert.config_file.write_text(text.replace('manage = "resolv.conf"', upstream_line))
    bert.run("reload")
    server = f"@{bert.address}"
    look_up = f"dig {server} +short www.example.org"
    until(lambda: names.ask(look_up) == [OUTSIDE], "the outside is asked")
    assert len(names.ask(f"dig {server} +short long.example.org")) == 200
    assert names.ask("getent ahostsv4 www.example.org")[0].split()[0] == OUTSIDE
    # Names of the mesh are nobody's outside.
    names.ask(f"dig {server} x.other.mesh")
    assert "mesh" not in upstream.output
    # Somebody else's file is not touched, and that is told.
    ours = names.file.read_text()
    names.file.write_text("nameserver 127.0.0.77\n")
    assert "somebody else" in bert.run("dns", "status").stdout
    bert.run("reload")
    assert "nameserver 127.0.0.77" in names.file.read_text()
    assert f"nameserver {bert.address}" in names.file.read_text()
    assert bert.json("dns", "status")["problem"] is None
    # Another control process goes on where the one before it was.
    control = bert.roles()["control"]
    bert.host.run(f"kill -9 {control}")
    until(
        lambda: bert.is_ready() and bert.roles().get("control") != control,
        "another control process",
    )
    until(lambda: bert.status()["dns"]["by"] == "resolv.conf", "it has the names")
    bert.down()
    assert names.file.read_text() == "nameserver 127.0.0.77\n"
    assert ours != BEFORE
    anna.down()


def test_all_names_go_by_an_exit_in_use(names: Names) -> None:
    """Its host's resolvers are asked, by it; and afterwards everything is as it was."""
    begin(names, "resolv.conf")
    anna, bert, carl = names.anna, names.bert, names.site.host("carl")
    outside = names.site.port(names.lab.host("outside"))
    served = outside.host.start(
        [
            *("env", f"PYTHONPATH={ROOT}", sys.executable),
            *("-m", "tests.e2e.outside_resolver", outside.v4),
        ]
    )
    wait_until(lambda: "serving" in served.output, "the outside is there")
    directory = names.etc / carl.host.namespace
    directory.mkdir()
    try:
        (directory / "resolv.conf").write_text(f"nameserver {outside.v4}\n")
        carl.join(anna.invite("--role", "exit", "--route", "0.0.0.0/0"))
        carl.run("exit", "offer")
        bert.await_peers("anna", "carl")
        until(lambda: bert.run("exit", "list").stdout.count("carl") == 1, "it offers")
        before = names.file.read_text()
        bert.run("exit", "use", "carl")
        look_up = "getent ahostsv4 www.example.org"
        found = f"{OUTSIDE} "
        until(
            lambda: [line[: len(found)] for line in names.ask(look_up)][:1] == [found],
            "a name of the world is found",
        )
        assert "www.example.org." in served.output
        assert names.ask("getent ahostsv4 anna")[0].split()[0] == anna.address
        # No other server stands behind ours, where a question could leak to.
        servers = [
            line.split()[1]
            for line in names.file.read_text().splitlines()
            if line.startswith("nameserver")
        ]
        assert set(servers) <= {bert.address, bert.address6}
        bert.run("exit", "off")
        assert names.file.read_text() == before
        bert.down()
        assert names.file.read_text() == BEFORE
    finally:
        shutil.rmtree(directory)
    for host in (anna, carl):
        host.down()


def test_resolved_is_told_of_the_interface(lab: Lab, tmp_path: Path) -> None:
    """By a control process that may do nothing but administer the network.

    The bus is a fake in this process, under the path that a node looks at; nothing
    is written, and `reload` takes back what the configuration does not say any more.
    """
    anna = Site(lab).host("anna")
    anna.found()
    with FakeBus(tmp_path) as bus:
        bus.known = tuple(range(100))
        command = (
            "mount -t tmpfs none /run && mkdir /run/dbus && "
            f"ln -s {bus.path} /run/dbus/system_bus_socket && "
            f"exec {installed_command()[0]} up {anna.network} --foreground"
        )
        anna.process = anna.host.start(
            ["unshare", "-m", "sh", "-c", command], environment=anna.variables
        )
        anna.await_ready()
        until(lambda: anna.status()["dns"]["by"] == "systemd-resolved", "it is told")
        (told,) = bus.links.values()
        assert told["SetLinkDomains"][:2] == [
            ("home.mesh", False),
            ("77.10.in-addr.arpa", True),
        ]
        servers = [str(ipaddress.ip_address(one)) for _, one in told["SetLinkDNS"]]
        assert servers == [anna.address, anna.address6]
        with anna.config_file.open("a") as config:
            config.write('\n[dns]\nmanage = "off"\n')
        anna.run("reload")
        assert not bus.links
        assert bus.calls[-1] == "RevertLink"
        anna.down()
