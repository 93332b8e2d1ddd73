"""The project's settings. The account key comes from the environment (CAPMONSTER_CLIENT_KEY)."""

from __future__ import annotations

BOT_NAME = "example"
SPIDER_MODULES = ["example.spiders"]

ADDONS = {"scrapy_capmonster_report.Addon": 500}

# How each shop rejects an answer.
CAPMONSTER_REPORT_RULES = [
    # The form again, with an error. But an expired session is not the answer's fault.
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
    # A preset for the other shops: the error codes of Turnstile are the same on every site.
    "turnstile",
]

CONCURRENT_REQUESTS = 32
# The shops need only one cookie, and the spider sends it itself.
COOKIES_ENABLED = False
# Open no port on this machine.
TELNETCONSOLE_ENABLED = False
REMOTE_CONTROL_ENABLED = False
