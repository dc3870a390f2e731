"""The rules of WireGuard, each broken on purpose: what `tools/mutate` applies.

A mutant replaces exact text of one module. If the text is not there as often as it
should be, the mutant is stale, and `tools/mutate` says so.
"""

from dataclasses import dataclass

COOKIE = "wireguard/cookie.py"
ENGINE = "wireguard/engine.py"
PEER = "wireguard/peer.py"
TIMERS = "wireguard/timers.py"
KEYPAIRS = "wireguard/keypairs.py"
HANDSHAKE = "wireguard/handshake.py"
CONFIGURE = "wireguard/configure.py"
CONSTANTS = "wireguard/constants.py"
REPLAY = "wireguard/replay.py"
SEAL = "dataplane/reference/seal.py"
OPEN = "dataplane/reference/open.py"
TABLE = "dataplane/table.py"
TRAFFIC = "dataplane/traffic.py"
GATE = "dataplane/gate.py"


@dataclass(frozen=True)
class Mutant:
    """One broken rule: in *module* (of meshnode) each of *changes*, old to new."""

    name: str
    module: str
    changes: tuple[tuple[str, str], ...]
    count: int = 1


def _mutant(name: str, module: str, *texts: str, count: int = 1) -> Mutant:
    changes = tuple(zip(texts[::2], texts[1::2], strict=True))
    return Mutant(name, module, changes, count)


MACS_AND_COOKIES = [
    _mutant(
        "any mac1 is valid",
        COOKIE,
        "return constant_time_equal(mac(key, data[_BEFORE_MACS]), data[_MAC1])",
        "return True",
    ),
    _mutant(
        "any mac2 is valid",
        COOKIE,
        "return constant_time_equal(expected, data[_MAC2])",
        "return True",
    ),
    _mutant(
        "a cookie is for every port of an address",
        COOKIE,
        'str(remote).encode("ascii")',
        'remote.host.encode("ascii")',
    ),
    _mutant(
        "the cookie secret is never replaced",
        COOKIE,
        "if now - self._secret_born_at >= COOKIE_SECRET_MAX_AGE:",
        "if not self._secret:",
    ),
    _mutant(
        "a cookie is used for ever",
        COOKIE,
        "if age >= COOKIE_SECRET_MAX_AGE - COOKIE_SECRET_LATENCY:",
        "if not self._cookie:",
    ),
    _mutant(
        "cookie replies are taken again and again",
        COOKIE,
        "        self._cookie_born_at = now\n        self._unanswered_mac1 = None\n",
        "        self._cookie_born_at = now\n",
    ),
    _mutant(
        "load is forgotten at once",
        COOKIE,
        "return now - self._loaded_at < UNDER_LOAD_STICKY",
        "return now == self._loaded_at",
    ),
    _mutant(
        "load begins only with a full queue",
        COOKIE,
        "if queued >= _QUEUE_UNDER_LOAD:",
        "if queued >= HANDSHAKE_QUEUE:",
    ),
    _mutant(
        "the engine does not check mac1",
        ENGINE,
        "if not checker.has_valid_mac1(data):",
        "if False:",
    ),
    _mutant(
        "under load a cookie is sent, and the message served all the same",
        ENGINE,
        "            raise BadPacket(DropReason.BAD_MAC2)\n",
        "            return\n",
    ),
    _mutant(
        "proven sources are not limited",
        ENGINE,
        "if not self._limiter.allow(path.remote.host, now=now):",
        "if False:",
    ),
    _mutant(
        "a whole /64 is as many sources as it has addresses",
        "wireguard/limiter.py",
        "return int(address) >> 64",
        "return int(address)",
    ),
    _mutant(
        "the gate does not check mac1",
        GATE,
        "if kind != COOKIE_REPLY_TYPE and not has_valid_mac1(self._mac1_key, message):",
        "if False:",
    ),
    _mutant(
        "the gate has no rate limit",
        GATE,
        "return None if bucket.take(now) else DropReason.RATE_LIMITED",
        "return None",
    ),
]

HANDSHAKES = [
    _mutant(
        "the preshared key is not mixed in",
        HANDSHAKE,
        "mix_preshared_key(self.preshared_key.reveal())",
        "mix_preshared_key(bytes(32))",
        count=2,
    ),
    _mutant(
        "a response to an earlier initiation is taken",
        HANDSHAKE,
        "or response.receiver != progress.local_index",
        "or False",
    ),
    _mutant(
        "both sides send with the same key",
        HANDSHAKE,
        "send_key=to_responder if is_initiator else to_initiator",
        "send_key=to_responder",
    ),
    _mutant(
        "timestamps are not compared",
        PEER,
        "if opened.timestamp <= self.latest_timestamp:",
        "if False:",
    ),
    _mutant(
        "an equal timestamp is new",
        PEER,
        "if opened.timestamp <= self.latest_timestamp:",
        "if opened.timestamp < self.latest_timestamp:",
    ),
    _mutant(
        "the greatest timestamp is not kept",
        PEER,
        "        self.latest_timestamp = opened.timestamp\n",
        "",
    ),
    _mutant(
        "no 20 ms between initiations of a peer",
        PEER,
        "if now - self._last_initiation_at < INITIATION_INTERVAL:",
        "if False:",
    ),
    _mutant(
        "initiations are not limited to one in 5 s",
        PEER,
        "if now < allowed_at:",
        "if False:",
    ),
    _mutant(
        "a response does not count for the 5 s",
        PEER,
        "            self._last_handshake_sent_at = now\n",
        "            pass\n",
    ),
    _mutant(
        "a refused initiation arms no timer",
        PEER,
        "            if self._timers.retransmit_at is None:\n"
        "                self._timers.retransmit_at = allowed_at",
        "            if False:\n"
        "                self._timers.retransmit_at = allowed_at",
    ),
    _mutant(
        "an initiation of the peer ends our own",
        PEER,
        "answering = handshake.another()",
        "answering = handshake",
    ),
    _mutant(
        "what we asked for outlives a confirmed session",
        PEER,
        "        self._abandon_initiation()\n        self._retire(retired, now)",
        "        self._retire(retired, now)",
    ),
    _mutant(
        "every request sends an initiation at once",
        PEER,
        "        if self._timers.retransmit_at is None:\n"
        "            self._send_initiation(now)",
        "        if True:\n            self._send_initiation(now)",
    ),
    _mutant(
        "handshakes are tried for ever",
        PEER,
        "if self._attempts <= MAX_HANDSHAKE_ATTEMPTS:",
        "if True:",
    ),
    _mutant(
        "handshakes are given up one attempt early",
        PEER,
        "if self._attempts <= MAX_HANDSHAKE_ATTEMPTS:",
        "if self._attempts < MAX_HANDSHAKE_ATTEMPTS:",
    ),
    _mutant(
        "giving up keeps the staged packets",
        PEER,
        "        self._shared.command(DropStaged(self.slot), now=now)\n"
        "        if self._timers.zero_keys_at is None:",
        "        if self._timers.zero_keys_at is None:",
    ),
    _mutant(
        "a new packet does not restart the attempts",
        PEER,
        "        self._attempts = 0\n        if self._timers.retransmit_at is None:",
        "        if self._timers.retransmit_at is None:",
    ),
    _mutant(
        "retransmissions keep the source address",
        PEER,
        "        self.dialler.note_timeout(now=now)\n        if self._attempts",
        "        if self._attempts",
    ),
    _mutant(
        "a new preshared key waits for ever",
        PEER,
        "self._handshake.preshared_key = key",
        "pass",
    ),
    _mutant(
        "timestamps begin anew with a peer that is added again",
        PEER,
        "shared.timestamps.latest",
        'b""',
    ),
    _mutant(
        "the mark of earlier lives is ignored",
        "wireguard/timestamps.py",
        "        self._floor = max(self._floor, mark)\n",
        "",
    ),
    _mutant(
        "no jitter",
        "wireguard/shared.py",
        'return int.from_bytes(self.entropy(4), "little") / 2**32 * REKEY_JITTER',
        "return 0.0",
    ),
    _mutant(
        "indices may collide",
        "wireguard/indices.py",
        "if index and index not in self._owners:",
        "if index:",
    ),
    _mutant(
        "indices of dead sessions are never freed",
        PEER,
        "            self._shared.indices.release(pair.local_index)\n",
        "",
    ),
]

SESSIONS = [
    _mutant(
        "a responder sends before confirmation",
        PEER,
        "        self._retire(self.keypairs.add_as_responder(pair), now)\n",
        "        self._retire(self.keypairs.add_as_responder(pair), now)\n"
        "        use = UseSession(self.slot, pair.local_index)\n"
        "        self._shared.command(use, now=now)\n",
    ),
    _mutant(
        "an initiator does not confirm",
        PEER,
        "            SendKeepalive(self.slot),\n            now=now,\n",
        "            now=now,\n",
    ),
    _mutant(
        "any packet confirms the waiting session",
        KEYPAIRS,
        "if self.next is None or self.next.local_index != local_index:",
        "if self.next is None:",
    ),
    _mutant(
        "the current pair is forgotten, not kept as previous",
        KEYPAIRS,
        "            retired = [self.previous]\n"
        "            self.previous = self.current\n",
        "            retired = [self.previous, self.current]\n"
        "            self.previous = None\n",
    ),
    _mutant(
        "old sessions are not retired",
        PEER,
        "            self._shared.command(RetireSession(self.slot, pair.local_index), "
        "now=now)\n",
        "            pass\n",
    ),
    _mutant(
        "a new identity goes on sending under old keys",
        PEER,
        "        self._shared.command(UseSession(self.slot, 0), now=now)\n",
        "",
    ),
    _mutant(
        "keys are never zeroed",
        PEER,
        "case Timer.ZERO_KEY_MATERIAL:\n                    self._clear_keys(now)",
        "case Timer.ZERO_KEY_MATERIAL:\n                    pass",
    ),
    _mutant(
        "no timer for zeroing keys",
        PEER,
        "        self._timers.zero_keys_at = now + ZERO_KEYS_AFTER\n"
        "        return KeyPair(",
        "        return KeyPair(",
    ),
    _mutant(
        "adopted keys are never zeroed",
        PEER,
        "        self._timers.zero_keys_at = newest + ZERO_KEYS_AFTER\n",
        "        pass\n",
    ),
    _mutant(
        "a report about any session asks for a new one",
        PEER,
        "if current is not None and current.local_index == local_index:",
        "if current is not None:",
    ),
    _mutant(
        "sessions live 240 s",
        CONSTANTS,
        "REJECT_AFTER_TIME: Final = 180.0",
        "REJECT_AFTER_TIME: Final = 240.0",
    ),
    _mutant(
        "sessions are renewed at 150 s",
        CONSTANTS,
        "REKEY_AFTER_TIME: Final = 120.0",
        "REKEY_AFTER_TIME: Final = 150.0",
    ),
    _mutant(
        "receiving renews at 175 s",
        CONSTANTS,
        "RECEIVE_REKEY_AGE: Final = 165.0",
        "RECEIVE_REKEY_AGE: Final = 175.0",
    ),
    _mutant(
        "egress ignores the age of its key",
        SEAL,
        "now < self.expires_at and self.counter",
        "self.counter",
    ),
    _mutant(
        "egress ignores the limit of counters",
        SEAL,
        "self.counter + packets <= REJECT_AFTER_MESSAGES",
        "True",
    ),
    _mutant(
        "responders renew by sending, too",
        SEAL,
        'REKEY_AFTER_TIME if secrets.is_initiator else float("inf")',
        "REKEY_AFTER_TIME",
    ),
    _mutant(
        "counters are used again",
        SEAL,
        "self.counter += packets",
        "self.counter += packets - 1",
    ),
    _mutant(
        "ingress ignores the age of a key",
        OPEN,
        "elif now >= session.expires_at:",
        "elif False:",
    ),
    _mutant(
        "responders renew by receiving, too",
        OPEN,
        "secrets.born_at + RECEIVE_REKEY_AGE if secrets.is_initiator else _NEVER_DUE",
        "secrets.born_at + RECEIVE_REKEY_AGE",
    ),
    _mutant(
        "receiving asks for a new session with every packet",
        OPEN,
        "            session.rekey_at = _NEVER_DUE\n",
        "",
    ),
    _mutant(
        "confirmation is not reported",
        OPEN,
        "if not session.is_confirmed:",
        "if False:",
    ),
    _mutant(
        "a session installed twice begins anew",
        TABLE,
        "            if known.slot == slot and known.secrets == secrets:\n"
        "                return\n",
        "",
    ),
    _mutant(
        "commands for a dead worker are obeyed",
        TABLE,
        "if command.generation != self._generation:",
        "if False:",
    ),
    _mutant(
        "sessions do not survive a restart of control",
        TABLE,
        "if session.slot not in self.peers:",
        "if True:",
    ),
    _mutant(
        "no session to use changes nothing",
        TABLE,
        "if local_index == 0:",
        "if False:",
    ),
]

TIMERS_AND_KEEPALIVES = [
    _mutant(
        "keepalives are answered by keepalives",
        TRAFFIC,
        "        self._count(slot, packets, octets, now)\n        return False",
        "        return self._data(slot, packets, octets, now)",
    ),
    _mutant(
        "a wait that control ended goes on",
        TRAFFIC,
        "        self._words[line + _ANSWERS] += 1\n",
        "",
    ),
    _mutant(
        "no second keepalive",
        TIMERS,
        "if first and since is not None and traffic.last_data_received_at > since:",
        "if False:",
    ),
    _mutant(
        "silence is noticed after 10 s",
        TIMERS,
        "return since + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + self.silence_jitter",
        "return since + KEEPALIVE_TIMEOUT + self.silence_jitter",
    ),
    _mutant(
        "keepalives come after 15 s",
        TIMERS,
        "            return since + KEEPALIVE_TIMEOUT\n",
        "            return since + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT\n",
    ),
    _mutant(
        "persistent keepalives ignore what is received",
        TIMERS,
        "traffic.last_sent_at, traffic.last_received_at, self.persistent_base",
        "traffic.last_sent_at, self.persistent_base",
    ),
    _mutant(
        "a persistent keepalive has no session to make",
        PEER,
        "            self._shared.command(SendKeepalive(self.slot), now=now)\n"
        "        else:\n"
        "            self.begin_handshake(now=now)",
        "            self._shared.command(SendKeepalive(self.slot), now=now)",
    ),
    _mutant(
        "switching a persistent keepalive on sends nothing",
        PEER,
        "if began and self._shared.up:",
        "if False:",
    ),
    _mutant(
        "traffic is watched for ever",
        PEER,
        "            view.watch(self.slot, awaits)\n",
        "            view.watch(self.slot, True)\n",
    ),
    _mutant(
        "a lost worker is not noticed",
        PEER,
        "        if had_session:\n",
        "        if False:\n",
    ),
]

DATA = [
    _mutant(
        "the window moves before authentication",
        OPEN,
        "elif not session.window.is_fresh(counter):",
        "elif not session.window.accept(counter):",
        "elif session.window.accept(counter):\n",
        "elif True:\n",
    ),
    _mutant(
        "replays are accepted",
        REPLAY,
        "        if word & bit:\n            return False\n",
        "",
    ),
    _mutant(
        "the window has 1024 bits",
        CONSTANTS,
        "WINDOW: Final = 8128",
        "WINDOW: Final = 960",
    ),
    _mutant(
        "the window is one counter too short",
        REPLAY,
        "elif counter + WINDOW < greatest:",
        "elif counter + WINDOW <= greatest:",
    ),
    _mutant(
        "inner sources are not checked",
        OPEN,
        "if owner != peer.slot and not _is_shared_with(peer.slot, owner):",
        "if False:",
    ),
    _mutant(
        "padding is delivered",
        OPEN,
        "self._packets.append(packet if size == len(packet) else packet[:size])",
        "self._packets.append(packet)",
    ),
    _mutant(
        "packets are not padded",
        SEAL,
        "return min(-size % PADDING, mtu - size)",
        "return 0",
    ),
    _mutant(
        "packets are padded beyond the MTU",
        SEAL,
        "return min(-size % PADDING, mtu - size)",
        "return -size % PADDING",
    ),
    _mutant(
        "any number of packets is staged",
        SEAL,
        "while len(peer.staged) > MAX_STAGED_PACKETS:",
        "while False:",
    ),
    _mutant(
        "the newest staged packet is dropped",
        SEAL,
        "            peer.staged.popleft()\n",
        "            peer.staged.pop()\n",
    ),
    _mutant(
        "a new session does not send what is staged",
        SEAL,
        "                self._send_staged(slot)\n            case SendKeepalive",
        "                pass\n            case SendKeepalive",
    ),
    _mutant(
        "the inner length may exceed the packet",
        "codec/ip.py",
        "if IPV4_HEADER_SIZE <= total <= size:",
        "if IPV4_HEADER_SIZE <= total:",
    ),
    _mutant(
        "reserved bytes are ignored",
        "codec/wireguard.py",
        'return int.from_bytes(data[:4], "little") if',
        'return int.from_bytes(data[:1], "little") if',
    ),
    _mutant(
        "longer handshake messages are parsed",
        "codec/wireguard.py",
        "    if len(data) != size:\n        raise BadPacket(DropReason.BAD_LENGTH)\n"
        "    return parse(data)",
        "    if len(data) < size:\n        raise BadPacket(DropReason.BAD_LENGTH)\n"
        "    return parse(data[:size])",
    ),
    _mutant(
        "timestamps tell the exact time",
        "codec/tai64n.py",
        "return encode(seconds, nanoseconds - nanoseconds % TICK)",
        "return encode(seconds, nanoseconds)",
    ),
]

MESH = [
    _mutant(
        "the gate does not check introductions",
        GATE,
        "if not has_last_mac1(self._mac1_key, message):",
        "if False:",
    ),
    _mutant(
        "introductions use up what handshakes need",
        GATE,
        "if self._introductions.take(now) and self._others.take(now):",
        "if self._others.take(now):",
    ),
    _mutant(
        "control frames are not limited",
        OPEN,
        "if self._waiting_frames < MAX_WAITING_FRAMES and peer.frames.take(self._now):",
        "if True:",
    ),
    _mutant(
        "whoever shares any prefix speaks from every shared one",
        OPEN,
        "return isinstance(owner, Owners) and slot in owner.accept",
        "return isinstance(owner, Owners)",
    ),
    _mutant(
        "nobody waits for a peer that is sought",
        SEAL,
        "        if peer.is_sought:\n            self._stage(peer, packets)",
        "        if False:\n            self._stage(peer, packets)",
    ),
    _mutant(
        "weights do not count",
        "dataplane/flows.py",
        "return share.weight / -math.log",
        "return 1 / -math.log",
    ),
    _mutant(
        "fragments have ports",
        "dataplane/flows.py",
        "if (packet[6] << 8 | packet[7]) & _FRAGMENT_MASK or",
        "if",
    ),
    _mutant(
        "a shared prefix stays with a peer that is gone",
        "dataplane/routes.py",
        "rest = _restricted(share, lambda other: other != slot)",
        "rest = share",
    ),
    _mutant(
        "a path is proven for ever",
        "wireguard/dialling.py",
        "if heard_at > self._doubted_at:",
        "if heard_at > NEVER:",
    ),
    _mutant(
        "candidates that come late wait for the next attempt",
        PEER,
        "        if not self.dialler.dial_others(now=now):\n"
        "            self._send_initiation(now)\n",
        "",
    ),
    _mutant(
        "who looks for peers is asked with every packet",
        "wireguard/dialling.py",
        "if now - self._wanted_at >= WANTED_INTERVAL:",
        "if True:",
    ),
]

ENDPOINTS_AND_CONFIGURATION = [
    _mutant(
        "a cookie reply moves the endpoint",
        ENGINE,
        "            self._receive_cookie(message, now)\n",
        "            self._receive_cookie(message, now)\n"
        "            for peer in self._peers():\n"
        "                peer.dialler.set_path(path, now=now)\n",
    ),
    _mutant(
        "an initiation does not move the endpoint",
        PEER,
        "        self._last_initiation_at = now\n"
        "        self.dialler.set_path(path, now=now)\n",
        "        self._last_initiation_at = now\n",
    ),
    _mutant(
        "a response does not move the endpoint",
        PEER,
        "        keys = handshake.derive_keys()\n"
        "        self.dialler.set_path(path, now=now)\n",
        "        keys = handshake.derive_keys()\n",
    ),
    _mutant(
        "data does not move the endpoint",
        OPEN,
        "if path is not peer.path and path != peer.path:",
        "if False:",
    ),
    _mutant(
        "handshakes are served while the link is down",
        ENGINE,
        "        if not self._shared.up:\n            raise BadPacket",
        "        if False:\n            raise BadPacket",
    ),
    _mutant(
        "the same private key disturbs the sessions",
        CONFIGURE,
        "if key == self.private_key:",
        "if False:",
    ),
    _mutant(
        "we can be our own peer",
        CONFIGURE,
        "if identity is not None and change.public_key == identity.public_key:",
        "if False:",
    ),
    _mutant(
        "a removed peer keeps its routes",
        CONFIGURE,
        "        self.routes.remove_owner(peer.slot)\n",
        "",
    ),
    _mutant(
        "replacing prefixes keeps the old ones",
        CONFIGURE,
        "            self._remove_routes(peer, gone, now)\n",
        "            pass\n",
    ),
    _mutant(
        "a prefix stays with its first owner",
        "wireguard/allowed_ips.py",
        "        if previous is not None:\n"
        "            self._disown(prefix, previous)\n",
        "        if previous is not None:\n            return previous\n",
    ),
]

MUTANTS = (
    MACS_AND_COOKIES
    + HANDSHAKES
    + SESSIONS
    + TIMERS_AND_KEEPALIVES
    + DATA
    + MESH
    + ENDPOINTS_AND_CONFIGURATION
)
