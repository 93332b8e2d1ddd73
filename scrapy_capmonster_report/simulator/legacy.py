"""The protocol of RuCaptcha and 2Captcha, which the service speaks too."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final

from .answer import SimulatedAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

PATHS: Final = ("/in.php", "/res.php")

_TYPES: Final = {
    **dict.fromkeys(("base64", "post"), "ImageToTextTask"),
    "turnstile": "TurnstileTask",
    "userrecaptcha": "RecaptchaV2Task",
}


def legacy_answer(path: str, form: dict[str, bytes], call: Callable[..., Any]) -> SimulatedAnswer:
    """Answer ``in.php`` or ``res.php`` like the corresponding call of the JSON protocol.

    Args:
        path: one of ``PATHS``.
        form: the fields of the query, or of the form.
        call: takes the path and the members of a JSON call, returns the members of its answer.
    """
    text = {name: value.decode("utf-8", "replace") for name, value in form.items()}
    members: dict[str, Any] = {"clientKey": text.get("key")}
    if path == "/in.php":
        members["task"] = {
            "type": _TYPES.get(text.get("method", "post")),
            "websiteURL": text.get("pageurl"),
            "websiteKey": text.get("googlekey") or text.get("sitekey"),
            "body": text.get("body") or b64encode(form.get("file", b"")).decode(),
        }
        content = call("/createTask", members)
    elif text.get("action") == "get":
        number = text.get("id", "")[:18]
        content = call("/getTaskResult", {**members, "taskId": number.isdecimal() and int(number)})
    else:
        # "reportbad" and the like: reports go to the report calls of the JSON protocol.
        action = text.get("action", "")[:20]
        content = {"errorCode": f"ERROR_NO_SUCH_METHOD: CapMonster Cloud has no action {action!r}"}
    waiting = {"processing": "CAPCHA_NOT_READY"}.get(content.get("status", ""))
    refusal = content.get("errorCode") or waiting
    # The text or the token is the first member of a solution.
    answer = str(next(iter(content.get("solution", {}).values()), content.get("taskId")))
    if text.get("json") == "1":
        return SimulatedAnswer.json({"status": int(not refusal), "request": refusal or answer})
    return SimulatedAnswer("text", body=(refusal or f"OK|{answer}").encode())
