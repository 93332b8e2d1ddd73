"""The project's settings. The account key comes from the environment (CAPMONSTER_CLIENT_KEY)."""

from __future__ import annotations

BOT_NAME = "example"
SPIDER_MODULES = ["example.spiders"]

ADDONS = {"scrapy_capmonster_report.Addon": 500}

# How each shop says that it rejects an answer.
CAPMONSTER_REPORT_RULES = [
    # The form again, with an error; but an expired session is not the answer's fault.
    {
        "name": "books: form error",
        "domains": "books.example",
        "css": "form.captcha .error",
        "unless": {"text": "session has expired"},
    },
    # A redirect.
    {"name": "flights: redirect", "domains": "flights.example", "redirect": r"[?&]error=captcha"},
    # A status with a header.
    {
        "name": "news: blocked",
        "domains": "news.example",
        "status": 403,
        "headers": {"x-blocked-by": "bot protection"},
    },
    # For the others a preset: the error codes that Turnstile has for every site.
    "turnstile",
]

CONCURRENT_REQUESTS = 32
# The shops need no cookies, but for the one that the spider sends itself.
COOKIES_ENABLED = False
# Nothing but the shops and the service is to talk with this example.
TELNETCONSOLE_ENABLED = False
REMOTE_CONTROL_ENABLED = False
