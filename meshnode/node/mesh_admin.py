"""What an administrator asks a node: invites, certificates, revocations, policy."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

from meshnode.codec.records import Policy, Role
from meshnode.crypto.keys import PrivateKey, PublicKey
from meshnode.errors import ConfigError, MeshnodeError
from meshnode.host.clock import boottime
from meshnode.manage.toml_reader import Table, integer, text
from meshnode.mesh.certifier import Subject
from meshnode.mesh.describe import find_member, role_names
from meshnode.mesh.documents import create_policy, create_stock_record
from meshnode.mesh.invites import Grant, Invite
from meshnode.mesh.office import Office
from meshnode.mesh.policy import warnings
from meshnode.mesh.refusal import RecordRefused
from meshnode.mesh.requests import Bundle, Contact, parse_request, serialise_bundle
from meshnode.mesh.token import Token
from meshnode.mesh.trust import VerifiedMember
from meshnode.node.mesh_shell import MeshShell
from meshnode.ports import Entropy
from meshnode.types import Prefix

_MAX_TIME: Final = 2**40 - 1
_MAX_TEXT: Final = 65536

Answered = Mapping[str, object]
Verb = Callable[[Table], Awaitable[Answered]]


class NoSuchMemberError(MeshnodeError):
    """No member has this name, address or key."""

    exit_code = 3


class NotIssuerError(MeshnodeError):
    """This node has no issuing key."""


class _Places(Protocol):
    def __call__(self) -> tuple[str, ...]:
        """Return where others reach this node, as HOST:PORT."""


class MeshAdmin:
    """The verbs that change the network, and those about its papers.

    Args:
        shell: the mesh.
        entropy: for keys of invites.
        places: where others reach this node, for tokens.
    """

    def __init__(self, shell: MeshShell, *, entropy: Entropy, places: _Places) -> None:
        self._shell = shell
        self._entropy = entropy
        self._places = places

    def verbs(self) -> dict[str, Verb]:
        """Return the functions that answer, by verb."""
        return {
            "invite create": self._create_invite,
            "invite list": self._list_invites,
            "invite revoke": self._revoke_invite,
            "cert issue": self._issue,
            "cert grant": self._grant,
            "cert revoke": self._revoke,
            "cert renew": self._renew,
            "policy show": self._show_policy,
            "policy check": self._check_policy,
            "policy apply": self._apply_policy,
            "peer add": self._add_stock,
        }

    # --- invites ---

    async def _create_invite(self, args: Table) -> Answered:
        office = self._office()
        grant = _read_grant(args, name=args.get("name", _name, ""))
        uses = args.get("uses", integer(1, 10_000), 1)
        expires = args.get("expires", integer(1, _MAX_TIME), None)
        args.finish()
        office.certifier.check_grant(grant)
        places = self._places()
        if not places:
            raise ConfigError(
                "nobody could find this node: give --advertise HOST:PORT, or connect "
                "it to a network"
            )
        private = PrivateKey(self._entropy(32))
        key = private.public_key()
        office.invites.create(
            key.raw,
            grant,
            uses=uses,
            expires=expires,
            now=boottime(),
            wall=int(time.time()),
        )
        self._shell.drain()
        node = self._shell.node
        token = Token(
            network_id=node.trust.network_id,
            invite_private=private,
            issuer_key=node.key,
            endpoints=places[:8],
            expires=expires,
            network=node.trust.charter.name,
        )
        return {"token": token.serialise(), "key": str(key), "expires": expires}

    async def _list_invites(self, args: Table) -> Answered:
        args.finish()
        wall = int(time.time())
        invites = self._office().invites.all()
        return {"invites": [_describe_invite(invite, wall) for invite in invites]}

    async def _revoke_invite(self, args: Table) -> Answered:
        start = args.get("key", text, None)
        args.finish()
        invites = self._office().invites
        found = [i for i in invites.all() if str(PublicKey(i.key)).startswith(start)]
        if len(found) != 1:
            what = "no invite begins" if not found else "several invites begin"
            raise ConfigError(f"{what} with {start!r}; see: meshnode invite list")
        invites.revoke(found[0].key, now=boottime(), wall=int(time.time()))
        self._shell.drain()
        return {"key": str(PublicKey(found[0].key))}

    # --- certificates ---

    async def _issue(self, args: Table) -> Answered:
        office, node = self._office(), self._shell.node
        request = parse_request(args.get("request", _text, None))
        grant = _read_grant(args, name=args.get("name", _name, "") or request.name)
        args.finish()
        subject = Subject(request.wireguard_key, request.signing_key)
        reply = office.issuing.issue(
            subject, grant, now=boottime(), wall=int(time.time())
        )
        self._shell.drain()
        places = self._places()
        contacts = (Contact(node.key, places[:8]),) if places else ()
        bundle = Bundle(node.trust.chain(), reply.certificate, reply.issuer, contacts)
        return {"bundle": serialise_bundle(bundle), "name": grant.name}

    async def _grant(self, args: Table) -> Answered:
        """Certify a member anew, with more than it has."""
        office, node = self._office(), self._shell.node
        member = self._member(args.get("member", text, None))
        old = member.certificate
        grant = Grant(
            name=old.name,
            groups=_merged(old.groups, args.items("groups", text)),
            subnets=_merged(old.subnets, args.items("subnets", _prefix)),
            roles=old.roles | _roles(args),
            lifetime=args.get(
                "lifetime",
                integer(60, _MAX_TIME),
                old.not_after - old.not_before,
            ),
        )
        args.finish()
        office.certifier.check_grant(grant)
        subject = Subject(member.key, old.signing_key, old.gateways)
        now, wall = boottime(), time.time()
        reply = office.issuing.issue(subject, grant, now=now, wall=int(wall))
        if Role.STOCK in old.roles:
            record = create_stock_record(
                certificate=reply.certificate, issuer=reply.issuer
            )
            _take(node.publish, record, now=now, wall=wall)
        elif member.key == node.key:
            node.use_certificate(reply.certificate, reply.issuer, now=now, wall=wall)
        else:
            node.offer_certificate(member.key, reply, now=now)
        self._shell.drain()
        return {"name": old.name}

    async def _revoke(self, args: Table) -> Answered:
        what = args.get("member", text, None)
        reason = args.get("reason", text, "revoked")
        args.finish()
        office, node = self._office(), self._shell.node
        try:
            key = PublicKey.from_base64(what).raw
        except ConfigError:
            key = self._member(what).key
        if key == node.key:
            raise ConfigError("a node does not revoke itself: use another issuer")
        now, wall = boottime(), time.time()
        envelope = office.issuing.revoke(key, reason, wall=int(wall))
        _take(node.publish, envelope, now=now, wall=wall)
        self._shell.drain()
        return {"key": str(PublicKey(key))}

    async def _renew(self, args: Table) -> Answered:
        args.finish()
        node = self._shell.node
        before = node.own.certificate.not_after
        node.renew_now(now=boottime(), wall=time.time())
        self._shell.drain()
        return {"notAfter": before}

    # --- policy ---

    async def _show_policy(self, args: Table) -> Answered:
        args.finish()
        policy = self._shell.node.sync.policy
        if policy is None:
            return {"version": 0, "text": ""}
        return {"version": policy.version, "text": policy.text}

    async def _check_policy(self, args: Table) -> Answered:
        content = args.get("text", _text, None)
        args.finish()
        return {"warnings": self._check(content)}

    async def _apply_policy(self, args: Table) -> Answered:
        content = args.get("text", _text, None)
        args.finish()
        self._office()
        found = self._check(content)
        node = self._shell.node
        issuing = node.identity.issuing
        if issuing is None:
            raise NotIssuerError(_NOT_ISSUER)
        current = node.sync.policy
        version = 1 if current is None else current.version + 1
        envelope = create_policy(
            issuing.key, node.trust.network_id, Policy(version, content)
        )
        _take(node.publish_policy, envelope, now=boottime(), wall=time.time())
        self._shell.drain()
        await self._shell.await_plans()
        return {"version": version, "warnings": found}

    def _check(self, content: str) -> list[str]:
        roads = self._shell.node.roads
        policy = roads.check_policy(content)
        return list(warnings(policy, roads.directory()))

    # --- stock members ---

    async def _add_stock(self, args: Table) -> Answered:
        """Certify a WireGuard device that this node and others carry."""
        office, node = self._office(), self._shell.node
        key = args.get("key", _key, None)
        name = args.get("name", _name, None)
        gateways = [self._member(g).key for g in args.items("gateways", text)]
        grant = _read_grant(args, name=name, extra=Role.STOCK)
        args.finish()
        subject = Subject(key.raw, bytes(32), tuple(gateways or [node.key]))
        now, wall = boottime(), time.time()
        reply = office.issuing.issue(subject, grant, now=now, wall=int(wall))
        record = create_stock_record(certificate=reply.certificate, issuer=reply.issuer)
        _take(node.publish, record, now=now, wall=wall)
        self._shell.drain()
        await self._shell.await_plans()
        member = self._member(name)
        v4, v6 = member.addresses
        roads, gateway = node.roads, subject.gateways[0]
        own = [one.prefix for one in roads.settings.announced]
        behind = dict.fromkeys((*roads.overlay, *roads.routing.accepted, *own))
        return {
            "name": name,
            "addresses": [str(v4), str(v6)],
            "allowedIps": [str(prefix) for prefix in behind],
            "peerKey": str(PublicKey(gateway)),
            "endpoints": list(self._places_of(gateway)),
        }

    def _places_of(self, key: bytes) -> tuple[str, ...]:
        """Return where a member listens, as far as we know."""
        node = self._shell.node
        if key == node.key:
            return self._places()
        found = node.reach.dialler.candidates_of(key, now=boottime())
        return tuple(str(endpoint) for endpoint in found)

    # --- the steps ---

    def _office(self) -> Office:
        office = self._shell.node.office
        if office is None:
            raise NotIssuerError(_NOT_ISSUER)
        return office

    def _member(self, name: str) -> VerifiedMember:
        member = find_member(self._shell.node, name)
        if member is None:
            raise NoSuchMemberError(f"no member {name!r}; see: meshnode peers")
        return member


_NOT_ISSUER = (
    "this node is no issuer: ask one that is (meshnode peers shows who has the role)"
)


class _Publish(Protocol):
    def __call__(self, data: bytes, /, *, now: float, wall: float) -> None:
        """Give a record to the network; raises `RecordRefused`."""


def _take(publish: _Publish, data: bytes, *, now: float, wall: float) -> None:
    """Publish what we made; raises `ConfigError` if the network's rules forbid it."""
    try:
        publish(data, now=now, wall=wall)
    except RecordRefused as refusal:
        raise ConfigError(f"the network would refuse it: {refusal}") from None


def _read_grant(args: Table, *, name: str, extra: Role = Role.NONE) -> Grant:
    return Grant(
        name=name,
        groups=args.items("groups", text),
        subnets=args.items("subnets", _prefix),
        roles=_roles(args) | extra,
        lifetime=args.get("lifetime", integer(60, _MAX_TIME), 365 * 86_400),
    )


def _roles(args: Table) -> Role:
    roles = Role.NONE
    for word in args.items("roles", text):
        try:
            roles |= Role[word.upper()]
        except KeyError:
            raise args.error("roles", f"{word!r} is no role") from None
    return roles


def _describe_invite(invite: Invite, wall: int) -> dict[str, object]:
    grant = invite.grant
    return {
        "key": str(PublicKey(invite.key)),
        "state": invite.state(wall),
        "uses": invite.uses,
        "used": invite.used,
        "name": grant.name,
        "groups": list(grant.groups),
        "subnets": [str(subnet) for subnet in grant.subnets],
        "roles": role_names(grant.roles),
        "created": invite.created,
        "expires": invite.expires,
    }


def _merged(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys((*old, *new)))


def _prefix(value: object) -> Prefix:
    return Prefix.parse(text(value))


def _key(value: object) -> PublicKey:
    return PublicKey.from_base64(text(value))


def _name(value: object) -> str:
    return "" if value == "" else text(value)


def _text(value: object) -> str:
    if type(value) is not str or len(value) > _MAX_TEXT:
        raise ValueError("is not a text of bounded length")
    return value
