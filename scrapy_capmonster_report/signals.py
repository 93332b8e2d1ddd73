"""Signals of this package. Connect to them through ``crawler.signals``, as to Scrapy's own.

``captcha_rejected(request, response, task, rule, spider)``
    A site rejected an answer. ``response`` is ``None`` if a callback called ``reject()``; ``task``
    is a :class:`~scrapy_capmonster_report.task.Task`, or ``None`` if the ``taskId`` is unusable;
    ``rule`` is the rule's name.

``report_finished(task, outcome, spider)``
    What became of a report that was handed to delivery. ``outcome`` is an
    :class:`~scrapy_capmonster_report.outcome.Outcome`.

``rejection_rate_changed(site, before, after, answers, spider)``
    A site rejects more answers than it used to, and not by chance. ``before`` and ``after`` are
    rates from 0 to 1; the new one was seen over the last ``answers`` answers.
"""

from __future__ import annotations

captcha_rejected = object()
report_finished = object()
rejection_rate_changed = object()
