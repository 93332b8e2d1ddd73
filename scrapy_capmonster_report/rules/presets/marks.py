"""The marks that several presets look for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ..body_conditions import Css, JmesPath
from . import evidence
from .messages import fold
from .places import CAPTCHA_NAME
from .preset import Mark

if TYPE_CHECKING:
    from ..condition import Condition
    from ..page import Page


_MAX_SHORT_PAGE: Final = 1500
"""A page that shows only an error has at most so many characters."""

_MAX_SHORT_BODY: Final = 100_000


def _judged(page: Page) -> str | None:
    is_another = page.status in (404, 429) or page.status > 500
    return None if is_another else f"status {page.status}"


def _first_error(page: Page) -> str | None:
    return next((error.text for error in page.view(evidence.sight).errors), None)


def _first_saying(page: Page) -> str | None:
    return next(map(str, page.view(evidence.json_messages)), None)


def _submission(page: Page) -> str | None:
    if page.request.method not in ("GET", "HEAD"):
        return page.request.method
    query = urlsplit(page.url).query.lower()
    return f"?{query}" if CAPTCHA_NAME.search(query) else None


def _redirect(page: Page) -> str | None:
    return page.redirects[0] if page.redirects else None


def _short(page: Page) -> str | None:
    seen = page.view(evidence.sight)
    if not seen.errors or seen.captcha or seen.fields or len(page.response.body) > _MAX_SHORT_BODY:
        return None
    return f"{len(page.words)} characters" if len(page.words) <= _MAX_SHORT_PAGE else None


def _answer(page: Page) -> str | None:
    if page.is_jsonp:
        return "JSON that a script is called with"
    return f"status {page.status}" if page.status >= 400 else _submission(page)


JUDGED: Final = Mark(
    "not a missing page, a rate limit or a server error", _judged, needs=("status",)
)
SUBMISSION: Final = Mark(
    "a POST, or a GET that sends the captcha's field", _submission, needs=("method",)
)
ANSWER: Final = Mark(
    "an answer: to a POST, with an error's status, as JSONP, or with the captcha in the URL",
    _answer,
)
REDIRECT: Final = Mark("a redirect that led here", _redirect, needs=("redirects",))
WIDGET: Final = Mark(
    "the widget of a captcha service", lambda page: page.view(evidence.sight).widget or None
)
PICTURE: Final = Mark(
    "an image captcha (a picture or a field with such a name)",
    lambda page: page.view(evidence.sight).image or None,
)
SHORT_PAGE: Final = Mark("a short page without a form", _short)
CAPTCHA_ERROR: Final = Mark(
    "an error that says that the captcha is wrong, or says *wrong* in the captcha's own place",
    evidence.captcha_error,
    instead=_first_error,
)
LONE_MESSAGE: Final = Mark(
    "a page that shows nothing but a message that the captcha is wrong", evidence.lone_message
)
OTHER_ERROR: Final = Mark("another error in the same list", evidence.other_error, absent=True)
NAMED_ERROR: Final = Mark(
    "an error that names the captcha and says that it is wrong",
    evidence.named_error,
    instead=_first_error,
)
JSON_ERROR: Final = Mark(
    "a member for errors in JSON that says that the captcha is wrong",
    evidence.json_error,
    instead=_first_saying,
)
SCRIPT_ERROR: Final = Mark(
    "a script of JSON that says in a member for errors that the captcha is wrong",
    evidence.script_error,
)
FRAGMENT_ERROR: Final = Mark(
    "markup in JSON with an error that says that the captcha is wrong", evidence.fragment_error
)
HUMAN_ERROR: Final = Mark(
    "WordPress stops, and asks whether the visitor is human", evidence.human_error
)
ALERT: Final = Mark("a script that shows at once that the captcha is wrong", evidence.alert_error)


def codes(*refused: str) -> tuple[Mark, Mark]:
    """The marks that the site relays one of the codes *refused*, and none of another meaning."""

    def find(page: Page) -> str | None:
        return ", ".join(sorted(page.view(evidence.siteverify_codes) & {*refused})) or None

    return Mark(
        f"the code {' or '.join(refused)}, in JSON or as an error", find, is_own=True
    ), _OTHER_CODES


def _other_codes(page: Page) -> str | None:
    found = page.view(evidence.siteverify_codes).intersection(evidence.NOT_THE_ANSWER)
    return ", ".join(sorted(found)) or None


_OTHER_CODES: Final = Mark(
    "a code about the answer's age, its reuse, or the site's keys",
    _other_codes,
    absent=True,
)


def element(value: str, css: str) -> tuple[Mark]:
    """The mark that an element is on the page."""
    return _looked_up(value, Css(css, None))


def member(value: str, *expressions: str) -> tuple[Mark]:
    """The mark that one of some JMESPath expressions finds something in the JSON of an answer."""
    return _looked_up(value, JmesPath(expressions, None))


def _looked_up(value: str, condition: Condition) -> tuple[Mark]:
    return (
        Mark(
            value,
            lambda page: condition.found(page) if condition.holds(page) else None,
            is_own=True,
        ),
    )


def literal(text: str) -> tuple[Mark]:
    """The mark that an error of a page, or a member for errors in JSON, is *text*."""
    wanted = fold(text).rstrip(".")

    def find(page: Page) -> str | None:
        found = [error.text for error in page.view(evidence.sight).errors]
        found += [saying.text for saying in page.view(evidence.json_messages)]
        return next((text for text in found if fold(text).rstrip(".") == wanted), None)

    return (Mark(f"the error “{text}”", find, is_own=True),)
