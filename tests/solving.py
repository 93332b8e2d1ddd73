"""What the tests do with the clients that people solve with, the same for each of them."""

from __future__ import annotations

import asyncio
import base64
from importlib import import_module
from inspect import isclass
from typing import Any, get_args

from support import CLIENT_KEY

PICTURE = bytes(200)
TURNSTILE = {"websiteURL": "https://shop.example/login", "websiteKey": "0x4AAA"}


class _Library:
    """A client's package: *tasks* is the module of its tasks, and *base* their base class."""

    tasks: Any
    base: Any
    #: Types that the client has and the service has not.
    foreign: frozenset[str] = frozenset()

    def one_of_each(self) -> list[Any]:
        """A task of each type, good enough to be sent."""
        classes = {each for each in vars(self.tasks).values() if isclass(each)} - {self.base}
        return [
            _made_up(each)
            for each in classes
            if issubclass(each, self.base) and each.__name__ not in self.foreign
        ]


class Official(_Library):
    """What the tests do with ``capmonstercloudclient``."""

    name = "capmonstercloudclient"

    def __init__(self, library: Any) -> None:
        self._library = library
        self._requests = library.requests
        self.base = self._requests.BaseRequest
        self.tasks = self._requests
        self.refusal = import_module("capmonstercloudclient.exceptions").BaseError
        self.timeout = asyncio.TimeoutError

    def connect(self, url: str, timeout: float = 20.0) -> Any:
        options = {"api_key": CLIENT_KEY, "service_url": url, "client_timeout": timeout}
        return self._library.CapMonsterClient(self._library.ClientOptions(**options))

    async def disconnect(self, client: Any) -> None:
        """It opens a session for each call."""

    def token(self) -> Any:
        # In 1.x the plain request is the one with a proxy.
        with_proxy = self._requests.TurnstileRequest
        return getattr(self._requests, "TurnstileProxylessRequest", with_proxy)(**TURNSTILE)

    def picture(self) -> Any:
        return self._requests.ImageToTextRequest(image_bytes=PICTURE)


class CapmonsterPython(_Library):
    """What the tests do with ``capmonster_python``."""

    name = "capmonster_python"
    foreign = frozenset({"HuntTask", "RecaptchaClickTask", "VanillaTaskPayload"})

    def __init__(self, library: Any) -> None:
        self._library = library
        self.base = import_module("capmonster_python.tasks.task").TaskPayload
        self.tasks = library
        self.refusal = self.timeout = library.CapmonsterException

    def connect(self, url: str, timeout: float = 20.0) -> Any:
        # The service's URL is a private name of the class; a subclass may have its own.
        class Local(self._library.CapmonsterClient):
            _CapmonsterClient__BASE_URL = url

        return Local(CLIENT_KEY, timeout=timeout)

    async def disconnect(self, client: Any) -> None:
        # Release 4 has no call for it.
        client._CapmonsterClient__sync_client.close()
        await client._CapmonsterClient__async_client.aclose()

    def token(self) -> Any:
        return self._library.TurnstileTask(**TURNSTILE)

    def picture(self) -> Any:
        return self._library.ImageToTextTask(body=_BASE64)


LIBRARIES = {library.name: library for library in (Official, CapmonsterPython)}

_BASE64 = base64.b64encode(PICTURE).decode()
_SITE = "https://shop.example/login"
#: Of fields that are needed by a task, but not by its class, or that are no text.
_VALUES: dict[str, Any] = {
    "body": _BASE64,
    "challenge": "x",
    "image_bytes": PICTURE,
    "imagesBase64": [_BASE64],
    "metadata": {},
    "proxyPort": 8080,
    "proxyType": "http",
    "websiteURL": _SITE,
    "websiteUrl": _SITE,
}


def _made_up(model: Any) -> Any:
    """One of these, without a look at what its fields may contain."""
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        types = [each for each in (field.annotation, *get_args(field.annotation)) if isclass(each)]
        models = [each for each in types if hasattr(each, "model_fields")]
        if models:
            values[name] = _made_up(models[0])
        elif name in _VALUES or field.is_required():
            values[name] = _VALUES.get(name, "x")
    return model.model_construct(**values)
