"""Pages as the rules saw them or would have seen them, read from files."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from scrapy import Request
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.exceptions import NotConfigured, UsageError
from scrapy.http import Headers, Response, TextResponse
from scrapy.responsetypes import responsetypes
from scrapy.signalmanager import SignalManager

from scrapy_capmonster_report.saved_pages import META_SUFFIX, RESPONSE_CLASSES

if TYPE_CHECKING:
    from pathlib import Path

    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

SUFFIXES: Final = (".html", ".json", ".txt")


@dataclass(frozen=True, slots=True)
class SavedPage:
    """A response, and what it answered.

    Args:
        source: where it comes from, to be shown.
        response: the response, its body decompressed.
        request: the request that it answers; of a saved page, what is known of it.
        redirects: the URLs that the site redirected the request to.
    """

    source: str
    response: Response
    request: Request
    redirects: tuple[str, ...] = ()


class Decompressor:
    """Decompresses bodies as Scrapy does in a crawl with *settings*."""

    def __init__(self, settings: BaseSettings) -> None:
        # All that the middleware asks of a crawler; it counts nothing without stats.
        crawler = SimpleNamespace(settings=settings, stats=None, signals=SignalManager())
        self._process: Any = None
        try:
            middleware = HttpCompressionMiddleware.from_crawler(cast("Crawler", crawler))
        except NotConfigured:
            return
        self._process = middleware.process_response
        parameters = inspect.signature(self._process).parameters
        # Scrapy < 2.14 requires the spider, later versions warn of it.
        required = parameters["spider"].default is inspect.Parameter.empty
        self._arguments: dict[str, None] = {"spider": None} if required else {}

    def __call__(self, request: Request, response: Response) -> Response:
        """*response* with its body decompressed; what cannot be decompressed stays as it is."""
        if self._process is None or "Content-Encoding" not in response.headers:
            return response
        try:
            return cast(
                "Response", self._process(request=request, response=response, **self._arguments)
            )
        except Exception:  # each compression has exceptions of its own
            return response


def is_page(path: Path) -> bool:
    """Whether *path* is named like a saved page."""
    return path.suffix.lower() in SUFFIXES and not path.name.endswith(META_SUFFIX)


def read_page(path: Path, decompress: Decompressor) -> SavedPage:
    """The saved page *path*, with what ``NAME.meta.json`` beside it says.

    Raises:
        UsageError: one of the two files cannot be read.
    """
    meta = _Meta(path.with_suffix(META_SUFFIX))
    try:
        body = path.read_bytes()
        default_url = path.absolute().as_uri()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    url = meta.get("url", str, default_url)
    status = meta.get("status", int, 200)
    if not 100 <= status <= 999:
        raise meta.mistake("status", "it must be from 100 to 999")
    redirects = meta.strings("redirects")
    try:
        request = Request(
            url,
            method=meta.get("method", str, "GET"),
            meta={"redirect_urls": redirects} if redirects else None,
        )
    except ValueError as error:
        raise meta.mistake("url", str(error)) from error
    if kind := meta.response_class():  # a crawl saved it, as the rules saw it
        is_text = issubclass(kind, TextResponse)
        encoding: Any = {"encoding": meta.get("encoding", str, None)} if is_text else {}
        response = kind(request.url, status=status, headers=meta.headers(), body=body, **encoding)
        return SavedPage(str(path), response, request, tuple(redirects))
    raw = Response(request.url, status=status, headers=meta.headers(), body=body)
    decoded = decompress(request, raw)
    headers = decoded.headers
    if decoded is raw:
        # A browser or a crawl that saved the body had decompressed it.
        headers.pop("Content-Encoding", None)
    kind = responsetypes.from_args(headers=headers, filename=path.name, body=decoded.body)
    response = kind(request.url, status=status, headers=headers, body=decoded.body)
    return SavedPage(str(path), response, request, tuple(redirects))


class _Meta:
    """What ``NAME.meta.json`` says; nothing if there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._values = json.loads(path.read_bytes())
        except FileNotFoundError:
            self._values = {}
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} is no JSON: {error}") from error
        if not isinstance(self._values, dict):
            raise UsageError(f"{path} is no JSON object")

    def mistake(self, key: str, allowed: str) -> UsageError:
        return UsageError(f"{self._path}: {key!r} is {self._values.get(key)!r}: {allowed}")

    def get(self, key: str, kind: type[Any], default: Any) -> Any:
        value = self._values.get(key, default)
        if value is default:
            return value
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.mistake(key, f"it must be {kind.__name__}")
        return value

    def response_class(self) -> type[Response] | None:
        name = self.get("class", str, "")
        if name and name not in RESPONSE_CLASSES:
            raise self.mistake("class", f"it must be one of {', '.join(RESPONSE_CLASSES)}")
        return RESPONSE_CLASSES.get(name)

    def strings(self, key: str) -> list[str]:
        values: list[str] = self.get(key, list, [])
        if not all(isinstance(value, str) for value in values):
            raise self.mistake(key, "it must be a list of str")
        return values

    def headers(self) -> Headers:
        values = self.get("headers", dict, {})
        for value in values.values():
            if not all(isinstance(item, str) for item in _listed(value)):
                raise self.mistake("headers", "a value must be a str or a list of them")
        return Headers({name: _listed(value) for name, value in values.items()})


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
