"""One client of the HTTP proxy: what it asks for, what passes, what is refused."""

import base64
import math

import pytest
import trio
import trio.testing

from meshnode.codec.proxies import Credentials, HttpConnect
from meshnode.proxy.http_changes import HeaderChanges
from meshnode.proxy.http_rules import RuleBook
from meshnode.proxy.http_server import HttpLimits, HttpOptions
from meshnode.proxy.outlets import Refusal
from meshnode.types import Endpoint, Target
from tests.http_parts import (
    OK,
    Script,
    Stream,
    answers,
    connected,
    read_all,
    talk,
)

POST = b"POST http://a.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
GET = b"GET http://a.example/x?y=1 HTTP/1.1\r\nHost: a.example\r\n\r\n"


async def test_a_request_is_passed_on_in_origin_form() -> None:
    """The Host is the URL's; the answer comes back; both have a Via."""
    script = Script(OK)
    data = await talk(GET.replace(b"Host: a", b"Host: other"), script)
    [(status, answer)] = answers(data)
    assert (status, answer.body) == (200, b"ok")
    assert answer.values("via") == ["1.1 here"]
    [seen] = script.seen
    assert (seen.method, seen.target) == ("GET", "/x?y=1")
    assert seen.values("host") == ["a.example"]
    assert seen.values("via") == ["1.1 here"]
    assert not seen.values("x-forwarded-for")


async def test_requests_in_sequence_use_one_connection() -> None:
    """As long as they are for the same place; pipelined ones wait their turn."""
    script = Script(OK, OK, OK)
    data = await talk(GET + GET + GET.replace(b"a.example", b"b.example"), script)
    assert [status for status, _ in answers(data)] == [200, 200, 200]
    assert script.connections == 2


async def test_the_server_is_asked_for_by_the_canonical_name() -> None:
    """What the rules saw is what is connected to."""
    script = Script(OK)
    async with connected(script) as (client, servers):
        await client.send_all(b"GET http://0x7F.1:81/ HTTP/1.0\r\n\r\n")
        await read_all(client)
    assert servers.asked == [Target("127.0.0.1", 81)]
    assert script.seen[0].values("host") == ["127.0.0.1:81"]


async def test_bodies_pass_both_ways() -> None:
    """With their lengths, or in chunks with trailers."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"3;x=y\r\nabc\r\n0\r\nDigest: 1\r\nSet-Cookie: no\r\n\r\n"
    script = Script(chunked, OK)
    data = await talk(
        b"POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        b"Trailer: Sum\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\nSum: 9\r\nHost: evil\r\n\r\n"
        b"PUT http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nfour",
        script,
    )
    first, second = answers(data)
    assert (first[1].body, first[1].trailers) == (b"abc", [("digest", "1")])
    assert second[0] == 200
    assert script.connections == 1
    post, put = script.seen
    assert (post.body, post.trailers) == (b"hi!", [("sum", "9")])
    assert post.values("transfer-encoding") == ["chunked"]
    assert put.body == b"four"
    assert put.values("content-length") == ["4"]


async def test_an_old_client_gets_what_it_understands() -> None:
    """No chunks, no interim response, and an end."""
    script = Script(
        b"HTTP/1.1 103 Early Hints\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\nA: b\r\n\r\n"
    )
    request = b"GET http://a/ HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"
    data = await talk(request, script)
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"chunked" not in head
    assert b"connection: close" in head.lower()
    assert body == b"abc"
    assert not script.seen[0].values("expect")
    assert script.seen[0].values("host") == ["a"]


async def test_head_has_no_body_and_keeps_the_length() -> None:
    """Also if it is our own answer."""
    script = Script(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
    head = b"HEAD http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"
    own = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
    found = answers(await talk(head + own, script), ["HEAD", "HEAD"])
    assert [status for status, _ in found] == [200, 200]
    assert found[0][1].values("content-length") == ["999"]
    assert found[1][1].body == b""


async def test_continue_is_passed_on() -> None:
    """The body is asked for by the server, not by us."""
    events: list[str] = []

    async def careful(stream: Stream) -> None:
        head = await stream.receive_some(65536)
        assert b"Expect: 100-continue" in head
        assert b"body" not in head
        events.append("head")
        await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await stream.receive_some(65536) == b"body"
        events.append("body")
        await stream.send_all(OK)

    async with connected(careful) as (client, _):
        await client.send_all(
            b"PUT http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert (await client.receive_some(999)).startswith(b"HTTP/1.1 100 ")
        await client.send_all(b"body")
        assert (await client.receive_some(999)).startswith(b"HTTP/1.1 200 ")
    assert events == ["head", "body"]


async def test_an_early_answer_ends_the_upload() -> None:
    """The client is told to close, and gets the answer whole."""
    script_answer = b"HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\n\r\nno!"

    async def impatient(stream: Stream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(script_answer)
        await trio.sleep_forever()

    with trio.fail_after(10):
        async with connected(impatient) as (client, _):
            await client.send_all(
                b"PUT http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1"
            )
            [(status, answer)] = answers(await read_all(client))
    assert (status, answer.body) == (413, b"no!")
    assert answer.values("connection") == ["close"]


async def test_connect_makes_a_tunnel() -> None:
    """What the client sends at once is not lost; its end is passed on."""

    async def echo(stream: Stream) -> None:
        while data := await stream.receive_some(65536):
            await stream.send_all(data.upper())
        await stream.send_all(b"!")

    data = await talk(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nabc", echo)
    assert data == b"HTTP/1.1 200 Connection established\r\n\r\nABC!"


async def test_our_own_client_gets_its_tunnel() -> None:
    """Nodes reach each other through HTTP proxies, too."""
    script = Script(OK)
    place, credentials = Endpoint("192.0.2.1", 443), Credentials("carol", "s3:cret")
    dialogue = HttpConnect(place, credentials)
    async with connected(script, credentials=check_carol) as (client, servers):
        await client.send_all(dialogue.data_to_send())
        while not dialogue.is_open:
            dialogue.receive(bytes(await client.receive_some(1)))
        await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await client.receive_some(999) == OK
    assert servers.asked == [Target("192.0.2.1", 443)]


async def test_an_upgrade_becomes_a_tunnel() -> None:
    """After 101, bytes pass both ways."""
    head = (
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    )
    seen = b""

    async def socket(stream: Stream) -> None:
        nonlocal seen
        seen = await stream.receive_some(65536)
        await stream.send_all(head + b"first")
        assert await stream.receive_some(99) == b"ping"
        await stream.send_all(b"pong")

    async with connected(socket) as (client, _):
        await client.send_all(
            b"GET http://a/ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
            b"Connection: keep-alive, Upgrade\r\n\r\n"
        )
        answer = await client.receive_some(999)
        if not answer.endswith(b"first"):
            answer += await client.receive_some(999)
        await client.send_all(b"ping")
        assert await client.receive_some(99) == b"pong"
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"Upgrade: websocket" in answer
    assert b"Upgrade: websocket" in seen


async def test_an_upgrade_may_be_declined() -> None:
    """Then both connections go on as before."""
    script = Script(OK, OK)
    upgrade = b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    data = await talk(GET.replace(b"\r\n\r\n", upgrade) + GET, script)
    assert [status for status, _ in answers(data)] == [200, 200]
    assert script.connections == 1


async def test_http2_is_not_upgraded_to() -> None:
    """It would take requests past the rules."""
    script = Script(OK)
    await talk(
        b"GET http://a/ HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
        b"Connection: Upgrade, HTTP2-Settings\r\n\r\n",
        script,
    )
    assert not script.seen[0].values("upgrade")
    assert not script.seen[0].values("http2-settings")


async def check_carol(user: str, password: str) -> bool:
    """One user."""
    await trio.lowlevel.checkpoint()
    return (user, password) == ("carol", "s3:cret")


def basic(text: str) -> bytes:
    """A Proxy-Authorization field."""
    return b"Proxy-Authorization: Basic " + base64.b64encode(text.encode()) + b"\r\n"


@pytest.mark.parametrize("wrong", ["", "carol:no", "carol", "x:s3:cret"])
async def test_who_is_not_known_is_asked(wrong: str) -> None:
    """On the same connection it may try again; the server never sees the password."""
    script = Script(OK)
    first = GET.replace(
        b"\r\n\r\n", b"\r\n" + (basic(wrong) if wrong else b"") + b"\r\n"
    )
    good = GET.replace(b"\r\n\r\n", b"\r\n" + basic("carol:s3:cret") + b"\r\n")
    tunnel = b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"
    data = await talk(first + tunnel + good, script, credentials=check_carol)
    refused, refused_too, passed = answers(data, ["GET", "GET", "GET"])
    assert refused[0] == refused_too[0] == 407
    [asks] = refused[1].values("proxy-authenticate")
    assert asks.startswith("Basic realm=")
    assert passed[0] == 200
    assert not script.seen[0].values("proxy-authorization")


async def test_rules_decide() -> None:
    """On hosts, on URLs and on tunnels."""
    book = RuleBook(deny=["*.bad.example", "http://a.example/x"])
    script = Script(OK)
    data = await talk(
        GET
        + b"GET http://a.example/ok HTTP/1.1\r\nHost: a\r\n\r\n"
        + b"CONNECT www.BAD.example.:443 HTTP/1.1\r\nHost: a\r\n\r\n"
        + b"CONNECT a.example:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        script,
        rules=book,
    )
    assert [status for status, _ in answers(data)] == [403, 200, 403, 403]
    assert len(script.seen) == 1


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Refusal.REFUSED, 502),
        (Refusal.NO_SUCH_NAME, 502),
        (Refusal.FORBIDDEN, 403),
        (Refusal.TIMED_OUT, 504),
        (Refusal.BUSY, 503),
    ],
)
async def test_what_an_outlet_refuses_is_said(refusal: Refusal, status: int) -> None:
    """In one line that names the place; the connection goes on."""
    data = await talk(GET + GET, Script(), refusal=refusal)
    first, second = answers(data)
    assert first[0] == second[0] == status
    text = first[1].body.decode()
    assert text.startswith("meshnode: a.example:80: ")
    assert text.count("\n") == 1


async def test_own_pages() -> None:
    """A PAC file and one line; anything else in origin form is refused."""
    options = HttpOptions("here", pac=lambda: "function FindProxyForURL() {}")
    data = await talk(
        b"".join(
            b"%s HTTP/1.1\r\nHost: proxy\r\n\r\n" % line
            for line in (
                b"GET /proxy.pac",
                b"GET /",
                b"GET /x",
                b"POST /",
                b"OPTIONS *",
            )
        ),
        Script(),
        options=options,
        credentials=check_carol,
    )
    found = answers(data)
    assert [status for status, _ in found] == [200, 200, 400, 400, 400]
    assert found[0][1].values("content-type") == ["application/x-ns-proxy-autoconfig"]
    assert "/proxy.pac" in found[1][1].body.decode()
    [(without, _)] = answers(await talk(b"GET /proxy.pac HTTP/1.0\r\n\r\n", Script()))
    assert without == 400


async def test_a_loop_is_ended() -> None:
    """A request that has been here is refused; another's Via stays."""
    via = b"GET http://a/ HTTP/1.1\r\nHost: a\r\nVia: 1.1 %s\r\n\r\n"
    script = Script(OK)
    data = await talk(via % b"HERE" + via % b"there, 1.0 x (here)", script)
    assert [status for status, _ in answers(data)] == [508, 200]
    assert script.seen[0].values("via") == ["1.1 there, 1.0 x (here)", "1.1 here"]


async def test_max_forwards() -> None:
    """At 0 we answer TRACE and OPTIONS ourselves, without secrets."""
    script = Script(OK)
    data = await talk(
        b"TRACE http://a/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nCookie: c=1\r\n\r\n"
        b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\nMax-Forwards: 7\r\n\r\n"
        b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\nMax-Forwards: x\r\n\r\n",
        script,
    )
    trace, options, wrong = answers(data)
    assert trace[1].values("content-type") == ["message/http"]
    assert trace[1].body.startswith(b"TRACE http://a/ HTTP/1.1\r\n")
    assert b"c=1" not in trace[1].body
    assert (options[0], wrong[0]) == (200, 400)
    assert script.seen[0].target == "*"
    assert script.seen[0].values("max-forwards") == ["6"]


async def test_fields_are_changed_as_configured() -> None:
    """Set in place of the client's, and removed."""
    changes = HeaderChanges.parse(["User-Agent: quiet"], ["Referer"])
    script = Script(OK)
    request = GET.replace(b"\r\n\r\n", b"\r\nUser-Agent: loud\r\nREFERER: x\r\n\r\n")
    await talk(request, script, options=HttpOptions("here", changes=changes))
    assert script.seen[0].values("user-agent") == ["quiet"]
    assert not script.seen[0].values("referer")


async def test_a_server_that_hung_up_is_asked_anew() -> None:
    """A connection that is used again may be closed already."""

    async def fickle(stream: Stream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(OK)
        await stream.receive_some(65536)  # the next request, which is not answered

    data = await talk(GET + GET, fickle)
    assert [status for status, _ in answers(data)] == [200, 200]


async def test_a_server_that_hangs_up_is_noticed() -> None:
    """Before the next request, so that one that cannot be repeated is not lost."""
    script = Script(OK, OK)

    async def brief(stream: Stream) -> None:
        script.answers = [OK]
        await script(stream)

    async with connected(brief) as (client, servers):
        for _ in range(2):
            await client.send_all(POST)
            assert (await client.receive_some(999)).startswith(b"HTTP/1.1 200 ")
            await trio.testing.wait_all_tasks_blocked()
    assert len(servers.asked) == 2


async def test_only_what_was_used_before_is_asked_anew() -> None:
    """And only without a body: that is gone."""

    async def fickle(stream: Stream) -> None:
        await stream.receive_some(65536)
        await stream.send_all(OK)
        await stream.receive_some(65536)

    async def rude(stream: Stream) -> None:
        await stream.receive_some(65536)

    async with connected(fickle) as (client, servers):
        await client.send_all(GET)
        assert (await client.receive_some(999)).startswith(b"HTTP/1.1 200 ")
        await client.send_all(POST.replace(b"POST", b"GET"))
        assert (await client.receive_some(999)).startswith(b"HTTP/1.1 502 ")
    assert len(servers.asked) == 1
    async with connected(fickle) as (client, servers):
        await client.send_all(GET)
        assert (await client.receive_some(999)).startswith(b"HTTP/1.1 200 ")
        servers.handler = rude
        await client.send_all(GET.replace(b"a.example", b"b.example"))
        assert (await client.receive_some(999)).startswith(b"HTTP/1.1 502 ")
    assert len(servers.asked) == 2


async def test_a_host_field_must_be_one() -> None:
    """Though it is the URL's host that counts."""
    [(status, _)] = answers(await talk(GET.replace(b"Host: a", b"Host: @a"), Script()))
    assert status == 400


async def test_a_request_with_a_body_is_not_repeated() -> None:
    """Nobody knows what it did."""
    requests = 0

    async def fickle(stream: Stream) -> None:
        nonlocal requests
        requests += 1
        await stream.receive_some(65536)

    [(status, _)] = answers(await talk(POST, fickle))
    assert status == 502
    assert requests == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 140_000 + b"\r\n\r\n",
        b"",
    ],
)
async def test_a_bad_server_is_a_bad_gateway(answer: bytes) -> None:
    """The client gets a whole answer, and may go on."""
    found = answers(await talk(GET + GET, Script(answer, OK)))
    assert [status for status, _ in found] == [502, 200]


async def test_what_a_server_says_unasked_reaches_nobody() -> None:
    """A second answer behind the first is not the next request's."""
    script = Script(OK + OK.replace(b"ok", b"no"), OK)
    found = answers(await talk(GET + GET, script))
    assert [answer.body for _, answer in found] == [b"ok", b"ok"]
    assert script.connections == 2


async def test_a_broken_answer_is_broken_for_the_client() -> None:
    """It must not look whole."""
    data = await talk(GET, Script(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"))
    assert data.endswith(b"\r\n\r\nab")
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
    data = await talk(GET, Script(chunked))
    assert data.endswith(b"2\r\nab\r\n")


async def test_a_bad_body_is_refused() -> None:
    """And the server does not get a whole request."""
    script = Script(OK)
    data = await talk(
        b"POST http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nhi\r\nzz\r\n\r\n" + GET,
        script,
    )
    [(status, answer)] = answers(data)
    assert status == 400
    assert answer.values("connection") == ["close"]
    assert not script.seen


LIMITS = HttpLimits(head=10, keep_alive=60, connect=30, idle=300)


async def test_who_says_nothing_is_let_go(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Within the limits for the first request, the next, and the rest of a head."""

    async def lifetime(data: bytes) -> tuple[float, bytes]:
        started = trio.current_time()
        async with connected(Script(OK)) as (client, _):
            await client.send_all(data)
            answer = await read_all(client)
        return trio.current_time() - started, answer

    assert await lifetime(b"") == (pytest.approx(10, abs=3), b"")
    seconds, answer = await lifetime(GET)
    assert seconds == pytest.approx(60, abs=3)
    assert [status for status, _ in answers(answer)] == [200]
    seconds, answer = await lifetime(b"GET http://a/ HTTP/1.1\r\nHo")
    assert seconds == pytest.approx(10, abs=3)
    assert answers(answer)[0][0] == 408


async def test_a_silent_server_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The client is told."""

    async def silent(stream: Stream) -> None:
        await stream.receive_some(65536)
        await read_all(stream)

    async with connected(silent) as (client, _):
        await client.send_all(GET)
        assert (await client.receive_some(999)).startswith(b"HTTP/1.1 504 ")
    assert trio.current_time() == pytest.approx(300, abs=3)


async def test_a_slow_upload_is_no_silent_server(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The server cannot answer before it has all of it."""
    script = Script(OK)
    async with connected(script) as (client, _):
        await client.send_all(
            b"PUT http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
        )
        for _ in range(9):
            await trio.sleep(200)
            await client.send_all(b"x")
        assert (await client.receive_some(999)).startswith(b"HTTP/1.1 200 ")
    assert script.seen[0].body == b"x" * 9


async def test_a_connection_that_is_not_made_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The outlet may take its time; we do not."""
    async with connected(Script()) as (client, servers):
        servers.delay = math.inf
        await client.send_all(GET)
        assert (await client.receive_some(999)).startswith(b"HTTP/1.1 504 ")
    assert trio.current_time() == pytest.approx(30, abs=3)
