"""The project's settings. Where a real project would run, this is all that the plugin needs.

The account key comes from the environment (CAPMONSTER_CLIENT_KEY), the rules are the spider's.
"""

from __future__ import annotations

BOT_NAME = "example"
SPIDER_MODULES = ["example.spiders"]
NEWSPIDER_MODULE = "example.spiders"

ADDONS = {"scrapy_capmonster_report.Addon": 500}

CONCURRENT_REQUESTS = 32
CONCURRENT_REQUESTS_PER_DOMAIN = 16
# Nothing but the shop and the service is to talk with this example.
TELNETCONSOLE_ENABLED = False
REMOTE_CONTROL_ENABLED = False
