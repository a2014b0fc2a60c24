"""Requests to one server: several at once, again where it helps, and what came back.

What can go wrong has one of four ends:

- *again, soon*: the answer was cut, late, malformed, or the server failed on it (500). After
  `TRIES` of these the request has failed for good; its question gets no answer, the others do.
- *again, when it is back*: nobody answers, or the server says that it is busy (429, 502, 503 or
  504). It is waited for, `patience` seconds; a server that answers others meanwhile has failed on
  this request alone, any other ends the run, which the same command resumes.
- *never*: the server refuses this request (another 4xx), or answers with more than `LARGEST` bytes.
  Where it refuses a parameter, the request is sent once more without it.
- *nothing will work*: no key, a wrong one, an unknown model, a redirect. The run ends at once.

Waits double, with jitter, up to `LONGEST_WAIT`; a Retry-After is obeyed where patience allows it.

The requests themselves are `transport`'s.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, NoReturn
from urllib.parse import urlsplit

from harness.core.errors import Exit, HarnessError
from harness.core.json_values import parse_json
from harness.core.options import ServerOptions
from harness.remote.completions import LIMIT, NEWER_LIMIT, Reply, parse_reply, without
from harness.remote.endpoint import KEYS, Endpoint, Key
from harness.remote.exchange import Response, Unanswered
from harness.remote.retries import Pace, TryAgain, retry_after, seconds_to_wait
from harness.remote.transport import Transport
from harness.remote.words import Failure, failure_in, refused_parameter, words_in

log = logging.getLogger(__name__)

TRIES = 5
"""Of one request, those that never reached the server left out."""
FIRST_TRIES = 3
"""To reach a server that has not answered yet: one that is down is reported at once."""
SLOWEST_LIST = 30.0
"""Seconds for the list of models; a server that needs longer is asked without its list."""
GIVE_UP_AFTER = 16
"""Requests in a row that failed for good by the server's fault, which end the run."""

_BUSY = frozenset({429, 502, 503, 504})
_AGAIN = frozenset({408, 425})
_UNUSABLE = frozenset({401, 403, 404, 405, 410, 501})
_IDENTITY = ("id", "root", "parent", "owned_by")
_SHAPE = ("n_params", "n_vocab", "n_embd", "size", "vocab_type")


class Client:
    """The requests to one model on one server.

    Args:
        proxy: the address of a proxy to go through; None: none, whatever the environment says.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        options: ServerOptions,
        *,
        key: Key | None = None,
        proxy: str | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._options = options
        self._key = key
        self._pace = pace or Pace()
        self._transport = Transport(
            endpoint, options.timeout, key=key, proxy=proxy, now=self._pace.now
        )
        self._names: Sequence[str] = ()
        self._listed: Mapping[str, Any] | None = None
        self._refused: frozenset[str] = frozenset()
        self._answered_at = -math.inf
        self._failed_in_a_row = 0
        self._warned_away = False
        self._lost = False
        self._checking = threading.Lock()

    @property
    def listed(self) -> Mapping[str, Any] | None:
        """What the server's list says of the model; None: nothing, or it was not asked yet."""
        return self._listed

    @property
    def left_out(self) -> Sequence[str]:
        """Parameters that the server does not take, so that its own defaults hold."""
        return sorted(self._refused - {LIMIT})

    # Before the first question

    def reach(self) -> None:
        """Find out whether the server is there, and what it says of the model.

        Raises:
            HarnessError: it is not there, or wants another key.
        """
        tries, since = 0, self._pace.now()
        while True:
            try:
                self._listed = self._list()
                return
            except TryAgain as again:
                tries += 1
                # A server that answers "busy" is there: it may be loading the model.
                if again.lost and tries >= FIRST_TRIES:
                    raise HarnessError(
                        f"No server answers at {self._endpoint.url}.",
                        known=f"{again}.",
                        remedy="Start it, or correct --base-url.",
                        code=Exit.MISSING,
                    ) from None
                wait = seconds_to_wait(tries, again, self._pace.chance())
                if not again.lost:
                    wait = self._within_patience(wait, again, since)
                    self._warn_away(again)
            self._pace.sleep(wait)

    def _list(self) -> Mapping[str, Any] | None:
        """What GET /models says of the model; None where it says nothing."""
        try:
            response = self._transport.send("/models", slowest=SLOWEST_LIST)
        except Unanswered:
            return None
        except TryAgain as again:
            if again.away:
                raise
            return None  # it is there, and has no list
        if response.status in {401, 403} or 300 <= response.status < 400:
            failure = failure_in(response.status, response.body)
            self._refuse(failure or Failure(response.status, ""), response)
        if response.status in _BUSY - {429}:
            raise TryAgain(
                f"HTTP {response.status}",
                away=True,
                after=retry_after(response, self._pace.today()),
            )
        try:
            rows = parse_json(response.body)["data"]
            entries = {row["id"]: row for row in rows if isinstance(row["id"], str)}
        except (ValueError, TypeError, KeyError):
            return None
        self._names = [self._transport.clean(name) for name in entries]
        # llama.cpp takes any name for its only model.
        only = next(iter(entries.values())) if len(entries) == 1 else None
        entry = entries.get(self._endpoint.served, only)
        return None if entry is None else self._identity(entry)

    def _identity(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """What in a list's entry tells one model from another; when it was loaded does not."""
        shape = entry.get("meta")
        shape = shape if isinstance(shape, dict) else {}
        found = {k: entry.get(k) for k in _IDENTITY} | {k: shape.get(k) for k in _SHAPE}
        return {
            name: self._transport.clean(value) if isinstance(value, str) else value
            for name, value in found.items()
            if isinstance(value, str | int)
        }

    # Questions

    def chat(self, bodies: Sequence[Mapping[str, Any]]) -> list[Reply | Unanswered]:
        """What comes back for each request, in order; `concurrency` of them are under way at once.

        Raises:
            HarnessError: the server cannot be asked any more.
        """
        todo: SimpleQueue[tuple[int, Mapping[str, Any]]] = SimpleQueue()
        done: SimpleQueue[tuple[int, Reply | BaseException]] = SimpleQueue()
        stop = threading.Event()
        for item in enumerate(bodies):
            todo.put(item)

        def work() -> None:
            while not stop.is_set():
                try:
                    place, body = todo.get_nowait()
                except Empty:
                    return
                try:
                    done.put((place, self._ask(body, stop)))
                except Unanswered as error:
                    done.put((place, error))
                except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
                    stop.set()  # before anybody sends another request
                    done.put((place, error))

        for _ in range(min(self._options.concurrency, len(bodies))):
            # Daemons, unlike an executor's threads: an interrupt does not wait for them.
            threading.Thread(target=work, daemon=True).start()
        made: dict[int, Reply | Unanswered] = {}
        try:
            while len(made) < len(bodies):
                place, result = done.get()
                if not isinstance(result, Reply | Unanswered):
                    raise result
                made[place] = result
        finally:
            stop.set()
        return [made[place] for place in range(len(bodies))]

    def _ask(self, body: Mapping[str, Any], stop: threading.Event) -> Reply:
        """Raises Unanswered or HarnessError."""
        tries, waits = 0, 0
        away_since: float | None = None
        while True:
            try:
                self._check_if_lost()
                reply = self._try(body)
            except TryAgain as again:
                self._lost = self._lost or again.lost
                if again.away is (away_since is None):  # another kind of trouble than before
                    waits = 0
                waits += 1
                wait = seconds_to_wait(waits, again, self._pace.chance())
                if again.away:
                    away_since = self._pace.now() if away_since is None else away_since
                    wait = self._within_patience(wait, again, away_since)
                    self._warn_away(again)
                else:
                    away_since, tries = None, tries + 1
                    if tries >= TRIES:
                        self._count_failure(f"{again}, {tries} times")
                    if again.after > self._options.patience:
                        self._count_failure(f"{again}, and asks to wait {again.after:.0f} s")
            else:
                self._answered_at = self._pace.now()
                self._failed_in_a_row, self._warned_away = 0, False
                return reply
            self._pace.sleep(wait)
            if stop.is_set():
                raise Unanswered("the run has ended")

    def _check_if_lost(self) -> None:
        """After a lost answer, check once that the same model answers."""
        with self._checking:
            if self._lost:
                self._check_same_model()
                self._lost = False

    def _try(self, body: Mapping[str, Any]) -> Reply:
        refused = self._refused
        response, failure = self._complete(without(body, refused))
        while failure and (name := refused_parameter(without(body, refused), failure)):
            if name in refused or name == NEWER_LIMIT:
                break
            refused |= {name}
            response, failure = self._complete(without(body, refused))
        if failure:
            self._fail(failure, response)
        try:
            reply = parse_reply(parse_json(response.body), response.seconds)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            kind = response.headers.get("content-type", "no content type")
            words = words_in(response.body)
            reason = f"no completion came back, but {len(response.body):,} bytes of {kind}"
            raise TryAgain(
                self._transport.clean(f"{reason}: {words}" if words else reason), away=False
            ) from error
        self._remember(refused)
        return replace(
            reply,
            text=self._transport.hide(reply.text),
            finish=self._transport.clean(reply.finish)[:40],
        )

    def _complete(self, body: Mapping[str, Any]) -> tuple[Response, Failure | None]:
        response = self._transport.send("/chat/completions", body=body)
        return response, failure_in(response.status, response.body)

    def _fail(self, failure: Failure, response: Response) -> NoReturn:
        """Raises what an error means for this request, or for all of them."""
        status = failure.status
        if 300 <= status < 400 or status in _UNUSABLE:
            self._refuse(failure, response)
        said = f"HTTP {status}{self._said(failure)}"
        if status == 200 or status in _BUSY or status in _AGAIN or status >= 500:
            # A server that answers with 200 is there.
            away = response.status in _BUSY
            raise TryAgain(said, away=away, after=retry_after(response, self._pace.today()))
        raise Unanswered(said)

    def _remember(self, refused: frozenset[str]) -> None:
        """Leave out of all further requests what an answer came without."""
        with self._checking:
            new = refused - self._refused
            self._refused |= refused
        for name in sorted(new - {LIMIT}):
            log.warning(
                "%s does not take the parameter %s: its own default holds, and the record says so.",
                self._endpoint.url,
                name,
            )

    # What failed

    def _within_patience(self, wait: float, again: TryAgain, since: float) -> float:
        """`wait`, or less of it; raises Unanswered or HarnessError where none of it is left."""
        left = since + self._options.patience - self._pace.now()
        if left <= 0 or again.after > left:
            self._give_up(again, since)
        return min(wait, left)

    def _warn_away(self, again: TryAgain) -> None:
        """Once for each time that it is away."""
        if not self._warned_away:
            self._warned_away = True
            log.warning(
                "%s: %s; waiting up to %.0f s.",
                self._endpoint.url,
                again,
                self._options.patience,
            )

    def _give_up(self, again: TryAgain, since: float) -> NoReturn:
        """A server that was away for too long."""
        if self._answered_at > since:
            raise Unanswered(f"{again}, while others were answered")
        asked = f" It asks to wait {again.after:.0f} s." if again.after else ""
        raise HarnessError(
            f"{self._endpoint.url} does not answer.",
            known=f"{again}, for {self._pace.now() - since:.0f} s.{asked}",
            remedy="What was answered before is kept: when it is back, re-run the same command to "
            "resume. "
            "--patience sets how long it is waited for.",
            code=Exit.MISSING,
        )

    def _count_failure(self, reason: str) -> NoReturn:
        """A request that has failed for good by the server's fault; one too many ends the run."""
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= max(GIVE_UP_AFTER, 2 * self._options.concurrency):
            raise HarnessError(
                f"{self._endpoint.url} failed on {self._failed_in_a_row} questions in a row.",
                known=f"{reason}.",
                remedy="What was answered is kept: when it works again, re-run the same "
                "command to resume.",
                code=Exit.MISSING,
            )
        raise Unanswered(reason)

    def _check_same_model(self) -> None:
        """Stop at a server that has come back with another model; raises TryAgain while it is
        away."""
        found = self._list()
        if found is not None and self._listed is not None and found != self._listed:
            raise HarnessError(
                f"{self._endpoint.url} has come back with another model.",
                known=f"It listed {dict(self._listed)} before, and {found} now.",
                remedy="What was answered before is kept. Serve that model again, or begin a run "
                "of the new one with --name.",
                code=Exit.MISSING,
            )

    def _refuse(self, failure: Failure, response: Response) -> NoReturn:
        """A status after which no request can succeed."""
        status, url = failure.status, self._endpoint.url
        said = f"HTTP {status}{self._said(failure)}."
        if status in {401, 403}:
            key = self._key
            what = f"{url} refuses the key in {key.source}" if key else f"{url} wants a key"
            remedy = f"Set {KEYS[0]} in the environment; {KEYS[1]} is read as well."
        elif 300 <= status < 400:
            what = f"{url} sends requests elsewhere, and they are not sent there"
            said += self._whither(response)
            remedy = "If that is where they should go, give its address with --base-url."
        else:
            what = f"{url} does not serve {self._endpoint.served}"
            said += f" It lists {', '.join(self._names[:8])}." if self._names else ""
            remedy = "Correct --model openai:NAME, or --base-url, which mostly ends in /v1."
        raise HarnessError(f"{what}.", known=said, remedy=remedy, code=Exit.MISSING)

    def _whither(self, response: Response) -> str:
        """The host that a redirect names; the rest of the address may hold a secret."""
        try:
            parts = urlsplit(response.headers.get("location", ""))
            host = parts.hostname
        except ValueError:
            host = None
        return self._transport.clean(f" To {parts.scheme}://{host}.") if host else ""

    def _said(self, failure: Failure) -> str:
        """The server's own words on an error: `: context length exceeded`."""
        words = failure.words
        if not words and failure.body:
            words = json.dumps(failure.body)
        return f": {self._transport.clean(words)}" if words else ""
