"""Tokens for SASL/OAUTHBEARER: read from a file, or asked of a token endpoint with the client's credentials (RFC 6749 §4.4)."""

import base64
import json
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from threading import Lock
from urllib.error import HTTPError

from kafka.net.sasl.oauth import AbstractTokenProvider

from interlock.connection import Connection, read_secret
from interlock.errors import UserError

TIMEOUT = 10.0
"""Seconds in which a token endpoint must answer."""

SPARE = 0.2
"""Share of a token's life that is left when the next one is asked for."""

UNSAID = 300.0
"""Seconds that a token is used whose endpoint does not say how long it lives."""

MOST = 1 << 20


class TokenError(OSError):
    """No token can be had now; clients of Kafka take it for a connection that failed, and try again."""


class Tokens:
    """Says the token to show, and asks for another before it runs out; any thread may ask."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep where tokens come from; `clock` is in seconds."""
        self._connection, self._clock = connection, clock
        self._token, self._until = "", float("-inf")
        self._lock = Lock()

    def token(self) -> str:
        """Return a token that is good for a while.

        Raises:
            TokenError: there is none, and why; the client's secret is never part of it.
        """
        file = self._connection.oauth_token_file
        if file is not None:  # whoever writes it may write another at any time
            try:
                return read_secret("oauth_token_file", file)
            except UserError as error:
                raise TokenError(str(error)) from None
        with self._lock:
            if self._clock() >= self._until:
                self._ask()
            return self._token

    def _ask(self) -> None:
        url = self._connection.oauth_token_url or ""
        try:
            with urllib.request.urlopen(self._request(url), timeout=TIMEOUT, context=self._trust(url)) as answer:  # noqa: S310 - checked: https, or this machine
                said = json.loads(answer.read(MOST))
            token, life = str(said["access_token"]), float(said.get("expires_in") or UNSAID)
        except HTTPError as error:
            error.close()  # it is the answer, too
            raise TokenError(f"oauth_token_url: {url} answers {error.code} {error.reason}") from None
        except OSError as error:
            raise TokenError(f"oauth_token_url: {url}: {getattr(error, 'reason', error)}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise TokenError(f"oauth_token_url: {url} answers with no access_token") from None
        self._token, self._until = token, self._clock() + life * (1 - SPARE)

    def _request(self, url: str) -> urllib.request.Request:
        connection = self._connection
        form = {"grant_type": "client_credentials"} | (
            {"scope": connection.oauth_scope} if connection.oauth_scope else {}
        )
        pair = (connection.oauth_client_id or "", connection.secret("oauth_client_secret") or "")
        basic = base64.b64encode(":".join(urllib.parse.quote(one, safe="") for one in pair).encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Accept": "application/json"}
        return urllib.request.Request(url, urllib.parse.urlencode(form).encode(), headers)  # noqa: S310 - see `_ask`

    def _trust(self, url: str) -> ssl.SSLContext | None:
        """Return whom an endpoint may be vouched for by: the system's authorities, and ours."""
        if not url.startswith("https:"):
            return None
        context = ssl.create_default_context()
        if self._connection.ssl_ca_file is not None:
            context.load_verify_locations(self._connection.ssl_ca_file)
        return context


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc] # kafka-python's types are not checked
    """Tokens as kafka-python asks for them."""

    def __init__(self, tokens: Tokens) -> None:
        """Keep where tokens come from."""
        super().__init__()
        self._tokens = tokens

    def token(self) -> str:
        """Return a token; TokenError as `Tokens.token`."""
        return self._tokens.token()
