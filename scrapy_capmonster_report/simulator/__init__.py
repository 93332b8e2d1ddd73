"""A stand-in for CapMonster Cloud on loopback, for demos and for tests.

It speaks the service's wire format (``createTask``, ``getTaskResult``, ``getBalance``, the three
report calls, and ``in.php``/``res.php``), makes a known share of its answers wrong, records every
call, and misbehaves on demand. With ``pytest-twisted``:

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

The simulator imports nothing else of this package and repeats the service's paths and error codes
on purpose: if it shared them with the reporter, it would share the reporter's mistakes. Their
source is the service's public documentation.
"""

from __future__ import annotations

from .answer import IMAGE_REPORT as IMAGE_REPORT
from .answer import TOKEN_REPORT as TOKEN_REPORT
from .answer import SimulatedAnswer as SimulatedAnswer
from .answer import SimulatedReport as SimulatedReport
from .service import DEFAULT_CLIENT_KEY as DEFAULT_CLIENT_KEY
from .service import Simulator as Simulator
from .tasks import SimulatedTask as SimulatedTask
