"""Signals of this package, to be connected through ``crawler.signals`` like Scrapy's own.

``captcha_rejected(request, response, task, rule, spider)``
    A refusal was found. ``response`` is ``None`` where a callback called ``reject()``; ``task`` is
    a :class:`~scrapy_capmonster_report.task.Task`, or ``None`` where the ``taskId`` is unusable;
    ``rule`` is the rule's name.

``report_finished(task, outcome, spider)``
    What became of a report that was handed to delivery. ``outcome`` is an
    :class:`~scrapy_capmonster_report.outcome.Outcome`.
"""

from __future__ import annotations

captcha_rejected = object()
report_finished = object()
