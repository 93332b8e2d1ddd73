"""What the keys of ``request.meta`` say about the task whose answer a request submits."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_capmonster_report.task import (
    TASK_TYPES,
    Kind,
    captcha_meta,
    closest_task_type,
    parse_moment,
    parse_task_id,
    read_task,
    task_type,
)

LARGEST = 2**63 - 1

# As the vendor spells them, with the endpoint that fits and how long an answer is good for.
VENDORS_TYPES: dict[str, tuple[Kind, float | None]] = {
    "ImageToTextTask": (Kind.IMAGE, None),
    "ComplexImageTask": (Kind.IMAGE, None),
    "RecaptchaV2Task": (Kind.TOKEN, 120),
    "RecaptchaV2EnterpriseTask": (Kind.TOKEN, 120),
    "RecaptchaV3Task": (Kind.TOKEN, 120),
    "RecaptchaV3EnterpriseTask": (Kind.TOKEN, 120),
    "NoCaptchaTask": (Kind.TOKEN, 120),
    "TurnstileTask": (Kind.TOKEN, 300),
    "GeeTestTask": (Kind.TOKEN, 600),
    "AmazonTask": (Kind.TOKEN, 300),
    "ProsopoTask": (Kind.TOKEN, 120),
    "CustomTask": (Kind.TOKEN, None),
    "FunCaptchaTask": (Kind.TOKEN, None),
    "HCaptchaTask": (Kind.TOKEN, None),
    "BinanceTask": (Kind.TOKEN, None),
    "MTCaptchaTask": (Kind.TOKEN, None),
    "YidunTask": (Kind.TOKEN, None),
    "CustomTask/DataDome": (Kind.TOKEN, None),
    "CustomTask/TenDI": (Kind.TOKEN, 300),
    "CustomTask/Basilisk": (Kind.TOKEN, None),
    "CustomTask/Imperva": (Kind.TOKEN, None),
    "CustomTask/Temu": (Kind.TOKEN, None),
    "CustomTask/altcha": (Kind.TOKEN, None),
    "CustomTask/Castle": (Kind.TOKEN, None),
    "CustomTask/tspd": (Kind.TOKEN, None),
    "CustomTask/HUNT": (Kind.TOKEN, None),
    "CustomTask/alibaba": (Kind.TOKEN, None),
    "CustomTask/friendly": (Kind.TOKEN, None),
}
KINDS = {
    "image": (Kind.IMAGE, None),
    "token": (Kind.TOKEN, None),
    "recaptcha": (Kind.RECAPTCHA, 120),
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        (7654321, 7654321),
        (LARGEST, LARGEST),
        ("7654321", 7654321),
        ("0007", 7),
        ("0" * 5000 + "7", 7),
        (str(LARGEST), LARGEST),
    ],
)
def test_a_task_id(value: int | str, expected: int) -> None:
    assert parse_task_id(value) == expected
    assert type(parse_task_id(value)) is int


NO_IDS: list[Any] = [
    *(None, True, False, 0, -1, -7654321, LARGEST + 1, 10**30, 10**400),
    *(1.0, 1.5, 7654321.0, math.nan, math.inf, 1 + 0j),
    *("", " ", "0", "000", "-1", "+1", "1.0", "1e3", "0x1F", "1_000", "1,000", "7 ", " 7", "7\n"),
    *("abc", "taskId", "٣", "७", "²", "１", "7\0", str(LARGEST + 1), "9" * 5000, "None"),  # noqa: RUF001
    *(b"7", bytearray(b"7"), [7], (7,), {7}, {"taskId": 7}, ..., int),
]


@pytest.mark.parametrize("value", NO_IDS, ids=lambda value: f"{type(value).__name__}")
def test_no_task_id(value: Any) -> None:
    assert parse_task_id(value) is None
    assert captcha_meta(value)["taskId"] is value  # it is counted, and breaks no crawl


def test_an_int_that_python_would_not_even_print_is_no_task_id() -> None:
    assert parse_task_id(10**5000) is None


@given(st.integers(min_value=1, max_value=LARGEST), st.text("0", max_size=30))
def test_an_int_and_its_digits_are_the_same_task(task_id: int, zeros: str) -> None:
    assert parse_task_id(task_id) == parse_task_id(zeros + str(task_id)) == task_id


@given(st.one_of(st.text(), st.binary(), st.integers(), st.floats(), st.lists(st.integers())))
def test_any_value_is_either_an_id_or_none(value: Any) -> None:
    task_id = parse_task_id(value)
    assert task_id is None or 1 <= task_id <= LARGEST


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        *((1, 1.0), (1.5, 1.5), (5e-324, 5e-324), (1_699_999_999, NOW - 1)),
        *(("1699999999", NOW - 1), ("1699999999.25", NOW - 0.75), (" 1.7e9\n", NOW)),
        *((1_699_999_999_250, NOW - 0.75), ("1699999999250", NOW - 0.75), (1e12, 1e9)),
        *((NOW + 60, NOW + 60), ((NOW + 60) * 1000, NOW + 60)),
    ],
)
def test_a_moment_in_seconds_or_milliseconds_as_a_number_or_as_text(
    value: object, moment: float
) -> None:
    assert parse_moment(value, NOW) == moment
    assert type(parse_moment(value, NOW)) is float


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, 0.0, -0.0, -1, -1.5, math.nan, math.inf, -math.inf, 10**400),
        *(NOW + 60.5, (NOW + 60.5) * 1000, NOW * 1_000_000, 999_999_999_999, 1e13, 1e300),
        *("", " ", "now", "2023-11-14T22:13:20", "nan", "inf", "-1", "0x1", "9" * 5000, "1 2"),
        *(b"1", [1.0], (1.0,), {"at": 1.0}, 1j, ...),
    ],
    ids=lambda value: f"{type(value).__name__}-{value!r:.12}",
)
def test_no_moment(value: Any) -> None:
    assert parse_moment(value, NOW) is None


@given(
    st.one_of(st.text(), st.integers(), st.floats(), st.from_regex(r"\A[0-9]{9,14}(\.[0-9]+)?\Z"))
)
def test_any_value_is_a_moment_that_has_been_or_none(value: Any) -> None:
    moment = parse_moment(value, NOW)
    assert moment is None or 0 < moment <= NOW + 60


@pytest.mark.parametrize("suffix", ["", "Proxyless"])
@pytest.mark.parametrize("name", VENDORS_TYPES)
def test_each_of_the_vendors_types(name: str, suffix: str) -> None:
    base, slash, custom_class = name.partition("/")
    written = base + suffix + slash + custom_class
    for spelling in (written, written.lower(), written.upper(), f" {written}\n"):
        known = task_type(spelling)
        assert known is not None
        assert (known.kind, known.lifetime) == VENDORS_TYPES[name]


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_a_type_too(name: str) -> None:
    known = task_type(name)
    assert known is not None
    assert (known.kind, known.lifetime) == KINDS[name]
    assert known.kind is Kind(name)


def test_no_type_is_left_out_of_the_tables_above() -> None:
    assert set(TASK_TYPES) == set(VENDORS_TYPES) | set(KINDS)


def test_a_new_class_of_custom_task_is_a_token_as_they_all_are() -> None:
    task = read_task({"taskType": "CustomTask/NewClass"}, 7, 5.0, fallback=Kind.IMAGE)
    assert task == (7, Kind.TOKEN, "CustomTask/NewClass", 5.0, None, None)


NO_TYPES: list[Any] = [
    *(None, "", " ", "Proxyless", "Task", "NewTask", "TurnstileTaskProxylessProxyless"),
    *("Turnstile Task", "turnstile", "İmage", 1, True, 1.5, b"TurnstileTask", ["image"], {}),
    *(("image",), Kind, ..., "x" * 100_000),
    *("/", "CustomTask/", "TurnstileTask/DataDome", "DataDome", "image/DataDome", "/DataDome"),
]


@pytest.mark.parametrize("value", NO_TYPES, ids=lambda value: f"{value!r:.30}")
def test_an_unknown_type_leaves_it_to_the_rule(value: Any) -> None:
    assert task_type(value) is None
    assert read_task({"taskType": value}, 7, 5.0).kind is Kind.TOKEN
    for kind in Kind:
        task = read_task({"taskType": value}, 7, 5.0, fallback=kind)
        assert (task.kind, task.lifetime) == KINDS[kind.value]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Turnstile", "TurnstileTask"),
        ("turnstile_task", "TurnstileTask"),
        ("TurnstyleTaskProxyless", "TurnstileTask"),
        ("ReCaptcha_v2Enterprise", "RecaptchaV2EnterpriseTask"),
        ("CustomTask/", "CustomTask"),
        ("Custom/DataDome", "CustomTask/DataDome"),
        ("images", "image"),
        ("something else", None),
        ("", None),
        ("é" * 100_000, None),
    ],
    ids=lambda value: f"{value!r:.30}",
)
def test_the_closest_type_of_a_mistaken_one(written: str, meant: str | None) -> None:
    assert closest_task_type(written) == meant


def test_a_member_of_kind_is_a_type() -> None:
    assert read_task({"taskType": Kind.IMAGE}, 7, 5.0).kind is Kind.IMAGE


@pytest.mark.parametrize("fallback", [None, *Kind])
def test_a_known_type_is_stronger_than_the_rule(fallback: Kind | None) -> None:
    meta = {"taskType": "TurnstileTaskProxyless"}
    task = read_task(meta, 7, 5.0, 4.0, fallback)
    assert task == (7, Kind.TOKEN, "TurnstileTaskProxyless", 5.0, 300, 4.0)


@pytest.mark.parametrize(
    ("meta", "expected"),
    [({}, None), ({"taskType": None}, None), ({"taskType": 7}, None), ({"taskType": "New"}, "New")],
)
def test_the_type_is_kept_as_it_was_written(meta: dict[str, Any], expected: str | None) -> None:
    assert read_task(meta, 7, 5.0).type == expected


# -- captcha_meta ----------------------------------------------------------------------------------


def test_captcha_meta_of_an_answer_that_is_ready_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.5)
    assert captcha_meta(7) == {"taskId": 7, "taskSolvedAt": 1_700_000_000.5}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((7, None, 5.0), {"taskId": 7, "taskSolvedAt": 5.0}),
        (("7", None, 0), {"taskId": "7", "taskSolvedAt": 0}),
        (
            (7, "TurnstileTask", 5.0),
            {"taskId": 7, "taskSolvedAt": 5.0, "taskType": "TurnstileTask"},
        ),
        (
            (7, "NewTask", 5.0),
            {"taskId": 7, "taskSolvedAt": 5.0, "taskType": "NewTask"},
        ),
        ((7, None, 5.0, 3.0), {"taskId": 7, "taskSolvedAt": 5.0, "taskCreatedAt": 3.0}),
        (
            (7, "CustomTask/DataDome", 5.0, 3.0),
            {
                "taskId": 7,
                "taskSolvedAt": 5.0,
                "taskType": "CustomTask/DataDome",
                "taskCreatedAt": 3.0,
            },
        ),
    ],
)
def test_captcha_meta(arguments: tuple[Any, ...], expected: dict[str, Any]) -> None:
    assert captcha_meta(*arguments) == expected
