"""Papers as text for people."""

from meshnode.cli.paper_text import paper_lines

DAY = 86400
ISSUER = {"name": "gate"}
CERTIFICATE = {
    "paper": "certificate",
    "name": "laptop",
    "networkId": "ab",
    "key": "k",
    "ipv4": "10.77.0.2",
    "ipv6": "fd00::2",
    "groups": ["staff", "admins"],
    "routes": [],
    "roles": ["relay"],
    "gateways": [],
    "notBefore": 100 * DAY,
    "notAfter": 130 * DAY,
    "memberSince": 0,
    "issuer": ISSUER,
}


def facts(paper: dict[str, object], wall: float) -> dict[str, str]:
    """Return the lines by their label."""
    pairs = (line.split("  ", 1) for line in paper_lines(paper, wall))
    return {label.strip(): text.strip() for label, text in pairs}


def test_a_certificate_is_a_line_a_fact() -> None:
    """What it does not have is left out."""
    found = facts(CERTIFICATE, 120 * DAY)
    assert found["paper"] == "certificate"
    assert found["groups"] == "staff, admins"
    assert found["valid"] == "1970-04-11 to 1970-05-11, ends in 10 days"
    assert found["member since"] == "1970-01-01"
    assert found["issuer"] == "gate"
    assert "routes" not in found
    assert "behind" not in found


def test_time_is_told_from_now() -> None:
    """Before, within and after."""
    assert facts(CERTIFICATE, 99 * DAY)["valid"].endswith("begins in 24 h")
    assert facts(CERTIFICATE, 140 * DAY)["valid"].endswith("ended 10 days ago")


def test_other_papers_have_other_facts() -> None:
    """Gateways by name, contacts, limits of an issuer."""
    device = {**CERTIFICATE, "gateways": ["x"], "gatewayNames": ["gate"]}
    assert facts(device, 0)["behind"] == "gate"
    assert facts({**CERTIFICATE, "issuer": None}, 0)["issuer"] == "an authority"
    bundle = {**CERTIFICATE, "contacts": [{"key": "k", "places": ["a:1", "b:2"]}]}
    assert facts(bundle, 0)["contact"] == "a:1, b:2 (k)"
    issuer = {"paper": "issuer", "pools": ["10.0.0.0/8"], "maxLifetime": 30 * DAY}
    found = facts(issuer, 0)
    assert found["certifies for"] == "at most 30 days"
    assert "valid" not in found


def test_columns_line_up() -> None:
    """Labels have one width."""
    starts = {
        len(line) - len(line.split("  ", 1)[1].lstrip())
        for line in paper_lines(CERTIFICATE, 0)
    }
    assert len(starts) == 1
