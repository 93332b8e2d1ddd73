"""Sites of Django and Flask with captchas of several packages, whose services are stubbed.

Django knows one configuration a process: importing this module makes it.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
from typing import TYPE_CHECKING, Any, Final

import django
from django.conf import settings

LANGUAGES: Final = (
    *("bg", "cs", "de", "en", "es", "fa", "fr", "it", "ja", "nl", "pl", "pt-br", "ru", "sk"),
    *("sv", "tr", "uk", "zh-hans", "ar", "id"),
)

DATABASE: Final = "file:captchas?mode=memory&cache=shared"
KEPT_OPEN: Final = sqlite3.connect(DATABASE, uri=True)
"""The database lasts as long as a connection to it. Those of Django are closed after each use."""

# Tests run in the thread of the reactor's loop, where Django would refuse to ask its database.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
settings.configure(
    SECRET_KEY="for tests",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["captcha", "django_recaptcha", "hcaptcha", "rest_framework"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATABASE,
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    MIDDLEWARE=["django.middleware.locale.LocaleMiddleware"],
    LANGUAGES=[(language, language) for language in LANGUAGES],
    ROOT_URLCONF=__name__,
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    FORM_RENDERER="django.forms.renderers.DjangoTemplates",
    USE_TZ=True,
    RECAPTCHA_PUBLIC_KEY="public",
    RECAPTCHA_PRIVATE_KEY="private",
    DRF_RECAPTCHA_SECRET_KEY="private",
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "UNAUTHENTICATED_USER": None,
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    },
    SILENCED_SYSTEM_CHECKS=["django_recaptcha.recaptcha_test_key_error"],
)
django.setup()

from captcha.fields import CaptchaField  # noqa: E402
from captcha.serializers import CaptchaSerializer  # noqa: E402
from django import forms  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django_recaptcha.fields import ReCaptchaField  # noqa: E402
from drf_recaptcha.fields import ReCaptchaV2Field  # noqa: E402
from flask import Flask, render_template_string  # noqa: E402
from flask_wtf import FlaskForm, RecaptchaField  # noqa: E402
from hcaptcha.fields import hCaptchaField  # noqa: E402
from rest_framework import serializers  # noqa: E402
from rest_framework.response import Response as RestResponse  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from wtforms import StringField  # noqa: E402
from wtforms.validators import Email, InputRequired  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

call_command("migrate", verbosity=0)


class _Form(forms.Form):
    name = forms.CharField()
    email = forms.EmailField()


class SimpleForm(_Form):
    captcha = CaptchaField()


class RecaptchaForm(_Form):
    captcha = ReCaptchaField()


class HcaptchaForm(_Form):
    hcaptcha = hCaptchaField()


FORMS: Final = {"simple": SimpleForm, "recaptcha": RecaptchaForm, "hcaptcha": HcaptchaForm}


def _by_hand(form: forms.Form) -> str:
    """The fields as many templates for Bootstrap show them."""
    return "".join(
        f'<div class="mb-3"><label class="form-label">{field.label}</label>{field}'
        + "".join(f'<div class="invalid-feedback d-block">{error}</div>' for error in field.errors)
        + "</div>"
        for field in form
    )


def _in_red(form: forms.Form) -> str:
    return "".join(
        f"<p>{field.label}: {field}"
        + "".join(f"<small style='color:red'>{error}</small>" for error in field.errors)
        + "</p>"
        for field in form
    )


RENDERINGS: Final[dict[str, Callable[[forms.Form], str]]] = {
    "p": lambda form: form.as_p(),
    "table": lambda form: f"<table>{form.as_table()}</table>",
    "ul": lambda form: f"<ul>{form.as_ul()}</ul>",
    "div": lambda form: form.as_div(),
    "bootstrap": _by_hand,
    "red": _in_red,
}


def show(request: HttpRequest, kind: str, rendering: str) -> HttpResponse:
    form = FORMS[kind](request.POST or None)
    if request.method == "POST" and form.is_valid():
        return HttpResponse("<!doctype html><p>Thank you, the captcha was right.</p>")
    body = RENDERINGS[rendering](form)
    return HttpResponse(
        f'<!doctype html><title>Sign up</title><form method="post">{body}<button>Go</button></form>'
    )


def tell(request: HttpRequest, kind: str, rendering: str) -> HttpResponse:
    form = FORMS[kind](request.POST)
    if form.is_valid():
        return JsonResponse({"success": True})
    data = form.errors if rendering == "plain" else form.errors.get_json_data()
    return JsonResponse({"success": False, "errors": data}, status=400)


class RestRecaptcha(serializers.Serializer):
    name = serializers.CharField()
    recaptcha = ReCaptchaV2Field()


class RestView(APIView):
    serializer: Any = None

    def post(self, request: Any) -> RestResponse:
        serializer = self.serializer(data=request.data, context={"request": request})
        serializer.is_valid(raise_exception=True)
        return RestResponse({"ok": True})


urlpatterns = [
    path("captcha/", include("captcha.urls")),
    path("form/<kind>/<rendering>/", show),
    path("json/<kind>/<rendering>/", tell),
    path("rest/simple/", RestView.as_view(serializer=CaptchaSerializer)),
    path("rest/recaptcha/", RestView.as_view(serializer=RestRecaptcha)),
]


def siteverify(*codes: str) -> Callable[..., io.BytesIO]:
    """A stub of a service that answers with *codes*; without any the answer is right."""

    def verify(*args: Any, **kwargs: Any) -> io.BytesIO:
        answer = io.BytesIO(json.dumps({"success": not codes, "error-codes": codes}).encode())
        answer.code = 200  # type: ignore[attr-defined]
        return answer

    return verify


class Opener:
    """What ``urllib``'s ``build_opener`` returns, as far as it is used."""

    def __init__(self, verify: Callable[..., io.BytesIO]) -> None:
        self.open = verify


class WtForm(FlaskForm):
    name = StringField(validators=[InputRequired()])
    email = StringField(validators=[InputRequired(), Email()])
    recaptcha = RecaptchaField()


_WT_PAGE: Final = """<!doctype html><title>Sign up</title><form method="post">
{% for field in form if field.type != "CSRFTokenField" %}
  <p>{{ field.label }} {{ field() }}</p>
  {% if field.errors %}
    <ul class="errors">{% for e in field.errors %}<li>{{ e }}</li>{% endfor %}</ul>
  {% endif %}
{% endfor %}</form>"""


def flask_app() -> Flask:
    """A site with Flask-WTF's reCAPTCHA."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY="for tests",
        WTF_CSRF_ENABLED=False,
        RECAPTCHA_PUBLIC_KEY="public",
        RECAPTCHA_PRIVATE_KEY="private",
    )

    @app.route("/", methods=["GET", "POST"])
    def sign_up() -> str:
        form = WtForm()
        if form.validate_on_submit():
            return "<!doctype html><p>Thank you, the captcha was right.</p>"
        return render_template_string(_WT_PAGE, form=form)

    return app
