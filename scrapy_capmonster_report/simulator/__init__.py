"""A CapMonster Cloud of one's own, on loopback, for demos and for tests.

It speaks the service's wire format (``createTask``, ``getTaskResult``, ``getBalance`` and the
three report calls), makes a known share of its answers wrong, keeps a record of everything that
was asked of it, and misbehaves on demand. With ``pytest-twisted``:

.. code-block:: python

    @pytest_twisted.async_yield_fixture
    async def capmonster():
        simulator = Simulator(client_key="test-key", wrong=0.3, seed=1)
        simulator.start()
        yield simulator
        await simulator.stop()

    @pytest_twisted.ensureDeferred
    async def test_my_spider(capmonster):
        settings = {"CAPMONSTER_API_URL": capmonster.url, "CAPMONSTER_CLIENT_KEY": "test-key"}
        ...  # run the spider with these settings
        reported = {report.task_id for report in capmonster.reports if report.accepted}
        assert reported == {task.id for task in capmonster.tasks.values() if task.wrong}

This part imports nothing else of this package, and spells the service's paths and error codes
out once more on purpose: a stand-in that took them from the reporter would agree with the
reporter's mistakes. Their source is the service's public documentation ("How to report bad
tokens", "Error types").
"""

from __future__ import annotations

from .answer import Answer
from .service import DEFAULT_CLIENT_KEY, Simulator
from .task import IMAGE_REPORT, RECAPTCHA_REPORT, REPORTS, TOKEN_REPORT, Report, SimulatedTask

__all__ = [
    "DEFAULT_CLIENT_KEY",
    "IMAGE_REPORT",
    "RECAPTCHA_REPORT",
    "REPORTS",
    "TOKEN_REPORT",
    "Answer",
    "Report",
    "SimulatedTask",
    "Simulator",
]
