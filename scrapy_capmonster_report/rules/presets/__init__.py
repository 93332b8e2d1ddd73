"""Ready-made rules for captchas and widespread software, used by name.

A preset only looks for marks that say that the answer itself is wrong. An expired, missing or
reused answer, a wrong key or a blocked address is not the answer's fault. If a mark may mean
either, the documentation says so, and the fairness checks (``reused``, ``stale``) decide.

The ``catalogue`` has the presets, made of ``marks``. ``evidence`` looks for marks on a page:
``places`` finds errors on a page, ``answers`` errors in JSON, and ``messages`` understands them by
``words`` in many languages.
"""

from __future__ import annotations

from .catalogue import GENERAL, PRESETS
from .preset import PresetRule

__all__ = ["GENERAL", "PRESETS", "PresetRule"]
