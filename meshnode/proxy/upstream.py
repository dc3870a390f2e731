"""Other proxies, one as good as the other, and the talk with one until it is ready."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import trio

from meshnode.codec.proxies import ProxyDialogue, ProxyRefusal
from meshnode.errors import CodecError
from meshnode.proxy.outlets import Outlet, OutletError, Refusal
from meshnode.types import Target

REACH_TIMEOUT: Final = 8.0
"""Seconds until a proxy takes our connection."""

ANSWER_TIMEOUT: Final = 30.0
"""Seconds until it has an answer; most give a target up before that."""

REST: Final = 60.0
"""Seconds that a proxy which did not answer is asked after all others."""

Stream = trio.abc.HalfCloseableStream
D = TypeVar("D", bound=ProxyDialogue)


async def hear(stream: Stream, dialogue: ProxyDialogue) -> None:
    """Say what is to be said to the proxy, and take some of its answer.

    Nothing behind the answer is read. Raises `CodecError` as the dialogue, and if the
    proxy goes away.
    """
    try:
        if data := dialogue.data_to_send():
            await stream.send_all(data)
        heard = await stream.receive_some(dialogue.wanted)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        heard = b""
    if not heard:
        raise CodecError("the proxy ended the connection")
    dialogue.receive(bytes(heard))


class Upstream:
    """Proxies at *places*, asked in that order; each is reached *through* an outlet."""

    def __init__(self, places: Sequence[Target], through: Outlet) -> None:
        self._places = tuple(places)
        self._through = through
        self._rests_until: dict[Target, float] = {}

    async def open(
        self, make: Callable[[], D], is_ready: Callable[[D], bool]
    ) -> tuple[Stream, D, Target]:
        """Return the first proxy that answers: stream, dialogue, and where it is.

        Raises:
            ProxyRefusal: if it refuses; then no other is asked.
            OutletError: if none answers; that of the last.
        """
        now = trio.current_time()
        resting = [one for one in self._places if self._rests_until.get(one, now) > now]
        awake = [one for one in self._places if one not in resting]
        failure = OutletError(Refusal.FAILED, "there is no proxy")
        for place in (*awake, *resting):
            try:
                dialogue = make()
            except CodecError as error:
                raise OutletError(Refusal.FAILED, str(error)) from error
            try:
                return await self._ask(place, dialogue, is_ready), dialogue, place
            except ProxyRefusal:
                raise
            except OutletError as error:
                failure = OutletError(error.refusal, f"{place}: {error}")
            except CodecError as error:
                failure = OutletError(Refusal.FAILED, f"{place}: {error}")
            self._rests_until[place] = trio.current_time() + REST
        raise failure

    async def _ask(
        self, place: Target, dialogue: D, is_ready: Callable[[D], bool]
    ) -> Stream:
        stream: Stream | None = None
        with trio.move_on_after(REACH_TIMEOUT):
            stream, _ = await self._through.connect(place)
        if stream is None:
            raise OutletError(Refusal.TIMED_OUT)
        try:
            with trio.move_on_after(ANSWER_TIMEOUT):
                while not is_ready(dialogue):
                    await hear(stream, dialogue)
                return stream
            raise OutletError(Refusal.TIMED_OUT)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
