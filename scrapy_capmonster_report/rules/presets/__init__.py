"""Ready rules for captchas and software that many sites run, used by name.

Only marks that speak of the answer itself: what a site says of an expired, missing or reused
answer, of a wrong key or of a blocked address is nobody's bad answer. Where a mark may mean
either, the documentation says so, and the fairness checks (``reused``, ``stale``) do the rest.

The ``catalogue`` has the presets, made of ``marks``. ``evidence`` asks a page for them: ``places``
of errors on a page, members for errors in JSON (``answers``), and what ``messages`` mean, by
``words`` in many languages.
"""

from __future__ import annotations

from .catalogue import PRESETS
from .preset import PresetRule

__all__ = ["PRESETS", "PresetRule"]
