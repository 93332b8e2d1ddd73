"""Answers of software that rejected a captcha answer, and look-alikes, rebuilt small.

Each case is what a site sent: the number of its row in the facts, a language, the page.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from scrapy import Request
from scrapy.http import HtmlResponse, JsonResponse, Response, TextResponse, XmlResponse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

URL: Final = "https://site.example/form"


@dataclass(frozen=True)
class Case:
    """What a site sent in answer to a submission."""

    name: str
    response: Response
    method: str = "POST"
    redirects: tuple[str, ...] = ()
    language: str = "en"

    @property
    def request(self) -> Request:
        return Request(self.response.url, method=self.method)


def page(body: str, *, url: str = URL, status: int = 200, encoding: str = "utf-8") -> HtmlResponse:
    return HtmlResponse(
        url,
        status=status,
        body=f"<!DOCTYPE html><html><head><title>Site</title></head>{body}</html>".encode(encoding),
        headers={"Content-Type": f"text/html; charset={encoding}"},
    )


def answer(data: Any, *, url: str = URL, status: int = 200) -> JsonResponse:
    return JsonResponse(url, status=status, body=json.dumps(data).encode())


def text(body: str, kind: str, *, url: str = URL) -> Response:
    kinds = {"html": HtmlResponse, "xml": XmlResponse}
    cls = kinds.get(kind.partition("/")[2], TextResponse)
    return cls(url, body=body.encode(), headers={"Content-Type": f"{kind}; charset=utf-8"})


@dataclass
class Cases:
    """Cases that belong together."""

    all: list[Case] = field(default_factory=list)

    def add(self, name: str, response: Response, language: str = "en", **more: Any) -> None:
        self.all.append(Case(name, response, language=language, **more))

    def each(self, name: str, words: Mapping[str, str], build: Any, **more: Any) -> None:
        for language, message in words.items():
            self.add(name, build(message), language, **more)


# -- the software's words ---------------------------------------------------------------------

MEDIAWIKI: Final = {
    "en": "Incorrect or missing CAPTCHA.",
    "de": "Falsches oder fehlendes CAPTCHA.",
    "ru": "Контрольная комбинация неверна или не введена.",
    "ja": "CAPTCHA が正しくない、または入力されていません。",
    "ko": "CAPTCHA가 올바르지 않거나 입력되지 않았습니다.",
    "sv": "Felaktig eller saknad CAPTCHA.",
    "tr": "Hatalı ya da eksik CAPTCHA.",
    "hu": "Hibás vagy hiányzó ellenőrző kód.",
    "fi": "Virheellinen tai puuttuva CAPTCHA.",
    "zh-hant": "驗證碼錯誤或遺失。",
}
MEDIAWIKI_EDIT: Final = {
    "en": "Incorrect or missing CAPTCHA.",
    "ru": "Код подтверждения неправильный или отсутствует.",
    "hu": "Hibás vagy hiányzó CAPTCHA.",
    "tr": "Yanlış veya eksik CAPTCHA",
    "sv": "Felaktig eller saknad captcha.",
    "zh-hant": "錯誤或未輸入 CAPTCHA",
}
DOKUWIKI: Final = {
    "en": "Sorry, but the CAPTCHA wasn't answered correctly. Maybe you're not human at all?",
    "de": "Das CAPTCHA wurde nicht korrekt beantwortet.",
    "ru": "Извините, код подтверждения введён неверно.",
    "fr": "Désolé, vous n'avez pas répondu correctement au CAPTCHA. Peut-être n'êtes vous pas "
    "humain ?",
    "es": "Lo sentimos, pero el CAPTCHA no fue respondido correctamente. Tal vez no eres una "
    "persona.",
    "pl": "Wybacz, ale CAPTCHA nie została uzupełniona poprawnie. Może wcale nie jesteś "
    "człowiekiem?",
}
SIMPLE_CAPTCHA: Final = {
    "en": "Invalid CAPTCHA",
    "de": "Ungültiges CAPTCHA",
    "fr": "CAPTCHA invalide",
    "ru": "Неверный ответ",
    "it": "Parola di controllo sbagliata",
    "cs": "Neplatná CAPTCHA",
    "sv": "Ogiltig CAPTCHA",
    "fa": "کد امنیتی صحیح نیست",
    "bg": "Сгрешен текст",
}
DJANGO_RECAPTCHA: Final = {
    "en": "(Hidden field captcha) Error verifying reCAPTCHA, please try again.",
    "de": "(Verstecktes Feld recaptcha) Error verifying reCAPTCHA, please try again.",
    "es": "(Campo oculto captcha) *Error verifying reCAPTCHA, please try again.",
    "fr": "(champ masqué robot) Error verifying reCAPTCHA, please try again.",
    "it": "(Campo nascosto captcha) Error verifying reCAPTCHA, please try again.",
    "pl": "(Ukryte pole captcha) Error verifying reCAPTCHA, please try again.",
    "ja": "(隠しフィールド captcha) Error verifying reCAPTCHA, please try again.",
    "nl": "(Verborgen veld captcha) Fout bij het verifiëren van reCAPTCHA, probeer het opnieuw.",
    "ar": "(الحقل الخفي captcha) تعذر التحقق من reCAPTCHA، يرجى المحاولة مرة أخرى.",
}
RAILS: Final = {
    "en": "reCAPTCHA verification failed, please try again.",
    "de": "Die reCAPTCHA-Überprüfung ist fehlgeschlagen, bitte versuchen Sie es erneut.",
    "fr": "La vérification reCAPTCHA a échoué, veuillez essayer à nouveau.",
    "it": "La verifica reCAPTCHA non è riuscita, si prega di riprovare.",
}
YII: Final = {
    "en": "The verification code is incorrect.",
    "de": "Der Prüfcode ist falsch.",
    "fr": "Le code de vérification est incorrect.",
    "es": "El código de verificación es incorrecto.",
    "ru": "Неправильный проверочный код.",
    "zh": "验证码不正确。",
    "tr": "Doğrulama kodu yanlış.",
    "cs": "Nesprávný ověřovací kód.",
    "ko": "확인코드가 올바르지않습니다.",
    "fi": "Vahvistuskoodi on virheellinen.",
}
PHPBB: Final = "The confirmation code you entered was incorrect."
MYBB: Final = (
    "The image verification code that you entered was incorrect. Please enter the code exactly how "
    "it appears in the image."
)
FLASK_WTF: Final = "The response parameter is invalid or malformed."
HCAPTCHA_WP: Final = (
    "hCaptcha error: The response parameter (verification token) is invalid or malformed."
)
TURNSTILE_WP: Final = "Please verify that you are human."

# -- its pages --------------------------------------------------------------------------------

PICTURE: Final = '<img src="/captcha.php?n=3"><input type="text" name="captcha">'
RECAPTCHA: Final = '<div class="g-recaptcha" data-sitekey="6Lc"></div>'
OTHER_FIELDS: Final = (
    '<p><label>Name</label><input type="text" name="name"></p>'
    '<p><label>E-mail</label><input type="email" name="email"></p>'
)


def mediawiki(message: str) -> Response:
    return page(
        '<body class="mediawiki"><form id="userlogin2" class="mw-htmlform" method="post">'
        f'<div class="mw-message-box-error mw-message-box">{message}</div>'
        '<input id="wpName2" name="wpName"><input type="password" name="wpPassword">'
        '<label for="mw-input-captchaWord">To protect the wiki, please answer: '
        '<a href="/wiki/Special:Captcha/help">(more info)</a></label>'
        '<input id="mw-input-captchaWord" name="captchaWord"><input type="hidden" name="captchaId">'
        "</form></body>"
    )


def mediawiki_edit(message: str) -> Response:
    return page(
        '<body class="mediawiki"><div class="mw-message-box-error mw-message-box"><p>'
        f'\n{message}\n</p></div><div class="mw-message-box-warning mw-anon-edit-warning"><p>'
        f"{'You are not logged in. Your IP address will be publicly visible. ' * 5}</p></div>"
        '<form id="editform"><input name="wpCaptchaWord"><input type="hidden" name="wpCaptchaId">'
        '<textarea name="wpTextbox1">Lichen</textarea></form></body>'
    )


def phpbb(message: str, captcha: str = '<input name="confirm_code">') -> Response:
    return page(
        '<body class="ltr"><form id="register" method="post" action="ucp.php?mode=register">'
        f'<dl><dd class="error">{message}</dd></dl><dl><dt><label>Username:</label><br>'
        "<span>Length must be between 3 and 20 characters.</span></dt>"
        '<dd><input name="username"></dd></dl><dl><dd><input type="password" name="new_password">'
        '</dd></dl><dl><dd class="captcha captcha-image"><img src="ucp.php?mode=confirm&amp;id=1">'
        f'</dd><dd>{captcha}<input type="hidden" name="confirm_id"></dd></dl></form>'
        '<div id="phpbb_alert" class="phpbb_alert" data-l-err="Error" style="display:none">'
        "<p>The confirmation code you entered was incorrect.</p></div></body>",
        url="https://forum.example/ucp.php?mode=register",
    )


def phpbb_reply(message: str) -> Response:
    return page(
        f'<body><form id="postform"><p class="error">{message}</p><input name="subject">'
        '<textarea name="message"></textarea><img src="ucp.php?mode=confirm&amp;id=1">'
        '<input name="confirm_code"><input type="hidden" name="confirm_id"></form>'
        '<div class="post"><div class="content">It says: you have exceeded the maximum.</div></div>'
        "</body>"
    )


def mybb(message: str) -> Response:
    return page(
        '<body><form id="registration_form"><div class="error"><p><em>Please correct the following '
        f"errors before continuing:</em></p><ul><li>{message}</li></ul></div>"
        '<input name="username"><input type="password" name="password"><input name="email">'
        '<img src="captcha.php?action=regimage&amp;imagehash=1" id="captcha_img"><br>'
        '<span class="smalltext" style="color: red;">The text is not readable? <a>Reload</a></span>'
        '<input id="imagestring" name="imagestring"><input type="hidden" name="imagehash">'
        '<td id="imagestring_status" style="display: none;">The image verification code that you '
        "entered was incorrect.</td></form></body>"
    )


def mybb_login(message: str) -> Response:
    return page(
        f'<body><div class="error"><p><em>Errors:</em></p><ul><li>{message}</li></ul></div><form>'
        '<input name="username"><input type="password" name="password"><table><tr '
        'id="captcha_trow"><td><img id="captcha_img" src="captcha.php"><input name="imagestring">'
        "</td></tr></table></form></body>"
    )


def dokuwiki(message: str) -> Response:
    return page(
        '<body><main id="dokuwiki__content"><div class="pad group">'
        f'<div class="error">{message}</div><form><fieldset><input name="login">'
        '<div class="plugin__captcha_wrapper"><img src="/lib/plugins/captcha/img.php?secret=1">'
        '<input name="7f3a"><label>Please keep this field empty: <input name="email2"></label>'
        "</div></fieldset></form></div></main></body>"
    )


def django(error: str, field_name: str = "captcha") -> Response:
    """A form of django-simple-captcha, ``as_p``."""
    return page(
        f'<body><form method="post">{OTHER_FIELDS}'
        f'<ul class="errorlist" id="id_{field_name}_error"><li>{error}</li></ul>'
        f'<p><label for="id_{field_name}_1">Text:</label>{_inputs(field_name)}</p></form></body>'
    )


def _inputs(name: str = "captcha") -> str:
    return (
        f'<img src="/captcha/image/ab12/" alt="captcha" class="captcha"><input type="hidden" '
        f'name="{name}_0" aria-invalid="true"><input type="text" name="{name}_1" '
        'aria-invalid="true" autocomplete="off">'
    )


def django_old(error: str) -> Response:
    """Before Django 5.2 a list of errors has no id."""
    return page(
        f'<body><form method="post">{OTHER_FIELDS}<ul class="errorlist"><li>{error}</li></ul>'
        f"<p><label>Code:</label>{_inputs('code')}</p></form></body>"
    )


def django_table(error: str) -> Response:
    return page(
        '<body><form><table><tr><th>Name:</th><td><input name="name"></td></tr><tr><th>Captcha:'
        f'</th><td><ul class="errorlist"><li>{error}</li></ul>{_inputs()}</td></tr></table></form>'
        "</body>"
    )


def django_bootstrap(error: str) -> Response:
    return page(
        f'<body><form>{OTHER_FIELDS}<div class="mb-3"><label>Captcha</label>{_inputs()}'
        f'<div class="invalid-feedback d-block">{error}</div></div></form></body>'
    )


def django_own(error: str) -> Response:
    return page(
        f"<body><form>{OTHER_FIELDS}<div>{_inputs()}<small style='color:red'>{error}</small></div>"
        "</form></body>"
    )


def django_recaptcha(error: str) -> Response:
    return page(
        f'<body><form method="post"><ul class="errorlist nonfield"><li>{error}</li></ul>'
        f'{OTHER_FIELDS}<div class="g-recaptcha" id="id_captcha" data-sitekey="6Lc"></div></form>'
        "</body>"
    )


def django_recaptcha_bootstrap(error: str) -> Response:
    return page(
        f'<body><form>{OTHER_FIELDS}<div>{RECAPTCHA}<div class="invalid-feedback d-block">'
        f"{error}</div></div></form></body>"
    )


def rails(error: str) -> Response:
    return page(
        '<body><form><div id="error_explanation"><h2>1 error prohibited this comment from being '
        f"saved:</h2><ul>\n<li>\n  {error}\n</li></ul></div>{OTHER_FIELDS}{RECAPTCHA}<noscript>"
        '<textarea name="g-recaptcha-response"></textarea></noscript></form></body>',
        status=422,
    )


def rails_flash(error: str) -> Response:
    return page(
        f'<body><div class="flash recaptcha_error">{error}</div><form>{OTHER_FIELDS}{RECAPTCHA}'
        "</form></body>"
    )


def yii(error: str, name: str = "contactform") -> Response:
    return page(
        '<body><form id="contact-form"><div class="form-group field-contactform-name has-success">'
        '<label>Name</label><input name="ContactForm[name]"><div class="help-block"></div></div>'
        f'<div class="form-group field-{name}-verifycode required has-error"><label '
        f'for="{name}-verifycode">Verification Code</label><img id="{name}-verifycode-image" '
        f'src="/site/captcha?v=6"><input id="{name}-verifycode" name="ContactForm[verifyCode]" '
        'aria-invalid="true"><div class="hint-block">Letters are not case-sensitive.</div>'
        f'<div class="help-block">{error}</div></div></form></body>'
    )


def flask_wtf(error: str) -> Response:
    return page(
        f'<body><form>{OTHER_FIELDS}{RECAPTCHA}<ul class="errors"><li>{error}</li></ul></form>'
        "</body>"
    )


def django_hcaptcha(error: str) -> Response:
    return page(
        '<body><form><ul class="errorlist" id="id_hcaptcha_error"><li>'
        f'{error}</li></ul><p><label>Hcaptcha:</label><div class="h-captcha" id="id_hcaptcha" '
        'aria-invalid="true" data-sitekey="10"></div></p></form></body>'
    )


def wp_login(error: str, before: str = "") -> Response:
    return page(
        f'<body class="login"><div id="login">{before}<div id="login_error">\t{error}<br /></div>'
        '<form id="loginform"><input name="log" id="user_login" aria-describedby="login_error">'
        '<input type="password" name="pwd"><h-captcha class="h-captcha"></h-captcha></form></div>'
        "</body>",
        url="https://blog.example/wp-login.php",
    )


def wp_die(error: str) -> Response:
    return page(
        '<body id="error-page"><div class="wp-die-message"><p><strong>ERROR:</strong> '
        f"{error}</p></div><p><a href='javascript:history.back()'>« Back</a></p></body>",
        url="https://blog.example/wp-comments-post.php",
        status=403,
    )


def cf7(message: str, field_name: str, general: str | None = None) -> Response:
    return answer(
        {
            "contact_form_id": 7,
            "status": "validation_failed",
            "message": general or "One or more fields have an error. Please check and try again.",
            "invalid_fields": [{"field": field_name, "message": message, "idref": None}],
        }
    )


def shown(
    error: str, *, captcha: str = PICTURE, before: str = "", after: str = "", **more: Any
) -> Response:
    """A form of a site's own, with an error in whatever markup."""
    return page(f"<body>{before}<form>{error}{OTHER_FIELDS}{captcha}</form>{after}</body>", **more)


def _refused() -> Iterator[Case]:
    cases = Cases()
    cases.each("1 mediawiki", MEDIAWIKI, mediawiki)
    cases.each("2 mediawiki, edit", MEDIAWIKI_EDIT, mediawiki_edit)
    for language in ("en", "de"):
        status = {"status": "FAIL", "messagecode": "captcha-createaccount-fail"}
        status["message"] = MEDIAWIKI[language]
        cases.add("3 mediawiki, API", answer({"createaccount": status}), language)
    cases.add("5 phpbb", phpbb(PHPBB))
    cases.add("5 phpbb", phpbb(f"The password is too short.<br />{PHPBB}"))
    cases.add("6 phpbb", phpbb_reply(PHPBB))
    cases.add(
        "7 phpbb, reCAPTCHA",
        phpbb(
            "The solution you provided was incorrect",
            '<div class="g-recaptcha" data-size="invisible"></div>',
        ),
    )
    cases.add("9 mybb", mybb(MYBB))
    cases.add("10 mybb, log-in", mybb_login(MYBB))
    cases.add("11 mybb, xmlhttp", answer(MYBB, url="https://forum.example/xmlhttp.php"))
    cases.each("12 dokuwiki", DOKUWIKI, dokuwiki)
    for build in (django, django_old, django_table, django_bootstrap, django_own):
        cases.each(f"13-16 {build.__name__}", SIMPLE_CAPTCHA, build)
    cases.each(
        "17 simple captcha, JSON",
        SIMPLE_CAPTCHA,
        lambda error: answer({"errors": {"captcha": [error]}}, status=400),
    )
    cases.add("18 simple captcha, REST", answer({"error": "Invalid CAPTCHA"}, status=400))
    cases.each("19 django-recaptcha", DJANGO_RECAPTCHA, django_recaptcha)
    bare = {key: value.partition(") ")[2].lstrip("*") for key, value in DJANGO_RECAPTCHA.items()}
    cases.each("20 django-recaptcha", bare, django_recaptcha_bootstrap)
    cases.each(
        "21 django-recaptcha, JSON",
        bare,
        lambda error: answer({"errors": {"captcha": [error]}}, status=400),
    )
    coded = {"message": bare["en"], "code": "captcha_invalid"}
    cases.add("21 with a code", answer({"errors": {"captcha": [coded]}}, status=400))
    cases.each("22 rails", RAILS, rails)
    cases.each("23 rails", RAILS, lambda error: rails(f"Captcha {error}"))
    cases.each("24 rails, flash", RAILS, rails_flash)
    cases.each("25 rails, JSON", RAILS, lambda error: answer({"captcha": [error]}, status=422))
    cases.each("26 yii", YII, yii)
    cases.each("27 yii, AJAX", YII, lambda error: answer({"contactform-verifycode": [error]}))
    cases.add("28 flask-wtf", flask_wtf(FLASK_WTF))
    for method in ("POST", "GET"):
        refused = answer({"statusCode": 400, "message": FLASK_WTF}, status=400)
        cases.add("29 nest", refused, method=method)
    cases.add("30 django-hcaptcha", django_hcaptcha("hCaptcha could not be verified."))
    cases.add(
        "31 laravel",
        shown('<span class="invalid-feedback"><strong>validation.captcha</strong></span>'),
    )
    laravel = {"message": "validation.captcha", "errors": {"captcha": ["validation.captcha"]}}
    cases.add("31 laravel, JSON", answer(laravel, status=422))
    back = {"method": "GET", "redirects": (URL,)}
    wrong = "Invalid CAPTCHA code. Please try again."
    for error in (
        f'<div class="alert alert-danger"><ul><li>{wrong}</li></ul></div>',
        f'<span class="invalid-feedback" role="alert"><strong>{wrong}</strong></span>',
        f'<span class="text-danger">{wrong}</span>',
    ):
        cases.add("32 laravel, back", shown(error), **back)
    for category in ("error", "danger", "warning", "message"):
        flashed = f'<ul class="flashes"><li class="{category}">{wrong}</li></ul>'
        cases.add("33 flask, flash", shown(flashed), **back)
        flashed = f'<div class="alert alert-{category}">Wrong captcha!</div>'
        cases.add("33 flask, alert", shown(flashed, captcha=RECAPTCHA), **back)
    cases.add("34 wordpress", wp_login(HCAPTCHA_WP))
    cases.add("35 wordpress", wp_login(HCAPTCHA_WP, '<p class="message register">Register</p>'))
    cases.add("36 contact form 7", cf7(HCAPTCHA_WP, "hcap-cf7"))
    hcaptcha_ru = (
        "Ошибка hCaptcha: Параметр ответа (токен проверки) недействителен или имеет неправильный "
        "формат."
    )
    cases.add("34 wordpress", wp_login(hcaptcha_ru), "ru")
    cases.add("36 contact form 7", cf7(hcaptcha_ru, "hcap-cf7"), "ru")
    cases.add("37 turnstile", wp_die(TURNSTILE_WP))
    cases.add("38 contact form 7", cf7(TURNSTILE_WP, "cf-turnstile", TURNSTILE_WP))
    for data in ({"code": "captcha_invalid"}, {"data": [{"code": "captcha_invalid"}]}):
        cases.add("39 wordpress, REST", answer(data, status=403))
    yield from cases.all
    yield from _refused_by_services()
    yield from _refused_by_others()


def _refused_by_services() -> Iterator[Case]:
    cases = Cases()
    discord = {"captcha_sitekey": "a", "captcha_service": "hcaptcha", "captcha_rqdata": "x"}
    for code in ("invalid-response", "invalid-input-response"):
        cases.add("40-41 discord", answer({"captcha_key": [code], **discord}, status=400))
    auth0 = {"code": "invalid_captcha", "name": "invalid_captcha"}
    cases.add("42 auth0", answer({**auth0, "description": "Invalid captcha value"}, status=401))
    cases.add("43 shop", answer({"success": False, "error": "INVALID_CAPTCHA"}))
    cases.add("44 ruoyi", answer({"msg": "验证码错误", "code": 500}), "zh")
    for code in (
        *(
            "CAPTCHA_INVALID",
            "invalid_captcha",
            "captcha-failed",
            "captchaIncorrect",
            "WrongCaptcha",
        ),
        *("captchainvalid", "CAPTCHA_ERROR", "error.captcha.invalid", "recaptcha_failed"),
        *("Captcha is incorrect", "Invalid captcha.", "captcha: wrong answer", "Captcha failed"),
        *("Die Captcha-Eingabe ist falsch", "Неверная капча", "El captcha no es correcto"),
    ):
        for number, data in enumerate(
            (
                {"error": code},
                {"code": code},
                {"errorCode": code, "message": "Bad request"},
                {"error": {"code": code, "message": "Something went wrong"}},
                {"message": code},
                {"msg": code, "code": 1},
                {"detail": code},
                {"errors": {"captcha": [code]}},
                {"errors": [{"message": code}]},
                {"errors": [{"message": "Bad", "extensions": {"code": code}}]},
                {"success": False, "data": {"message": code}},
            )
        ):
            status = (400, 401, 403, 422, 500, 200)[number % 6]
            cases.add(f"45 {code}", answer(data, status=status))
    for data in (
        {"code": "1001", "desc": "验证码不正确"},
        {"state": "fail", "info": "验证码错误"},
        {"flag": False, "tip": "验证码错误"},
        {"captchaError": "Incorrect"},
    ):
        cases.add("45 in a member of another name", answer(data))
    for told in ("Wrong captcha", "Incorrect or missing captcha.", "is invalid"):
        cases.add("45 by the field", answer({"captcha": told}, status=400))
        cases.add("45 by the field", answer({"errors": {"captcha": [told]}}, status=422))
    relayed = "Error: invalid response was returned from the token: invalid-input-response"
    for status in (400, 500):
        cases.add("46 in a sentence", answer({"message": relayed}, status=status))
    said = '{"success": false, "error": "Invalid captcha"}'
    for body, kind, method in (
        (f"cb({said});", "application/javascript", "GET"),
        (f"jQuery1102_17({said})", "text/javascript", "GET"),
        (f"/**/ cb({said});", "text/javascript", "POST"),
        (f")]}}',\n{said}", "application/json", "POST"),
        (f"for(;;);{said}", "application/x-javascript", "POST"),
        (f"<html><head></head><body><pre>{said}</pre></body></html>", "text/html", "POST"),
        (  # as Chrome shows it, with a place for its formatter
            f"<html><body><pre>{said}</pre><div class='json-formatter-container'></div></body>",
            "text/html",
            "POST",
        ),
        (
            f'<html><body><script type="application/json">{said}</script></body></html>',
            "text/html",
            "POST",
        ),
        (said, "text/html", "POST"),
        (said, "application/problem+json", "POST"),
    ):
        cases.add("47 wrapped", text(body, kind), method=method)
    markup = '<div class="messages messages--error">The captcha is incorrect.</div>'
    for data in (
        [{"command": "insert", "data": markup}],
        {"data": markup},
        {"status": 0, "html": f"<form>{markup}{PICTURE}</form>"},
    ):
        cases.add("48 markup in JSON", answer(data))
    geetest = {"status": "success", "result": "fail", "reason": "pass_token error"}
    cases.add("49 geetest", answer({**geetest, "captcha_args": {}}))
    cases.add("49 geetest", answer({"data": {**geetest, "captcha_args": {}}}))
    cases.add("50 geetest", answer({"status": "error", "error_code": "error_14"}))
    cases.add("50 geetest", answer({"geetest": {"error_code": 14}}))
    assessment = {"valid": False, "invalidReason": "MALFORMED"}
    assessed = {"tokenProperties": assessment, "riskAnalysis": {"score": 0}}
    cases.add("51 enterprise", answer(assessed))
    for method in ("GET", "POST"):
        challenge = page("<body>Just a moment...</body>", status=403)
        challenge.headers["cf-mitigated"] = "challenge"
        cases.add("52 cloudflare", challenge, method=method)
    cases.add(
        "53 amazon",
        page(
            '<body><div class="a-box a-alert a-alert-info">Enter the characters you see below</div>'
            '<form action="/errors/validateCaptcha"><img src="https://images/captcha/ab/1.jpg">'
            '<input id="captchacharacters" name="field-keywords"></form></body>',
            url="https://www.shop.example/errors/validateCaptcha?amzn=1&field-keywords=ABCDEF",
        ),
        method="GET",
    )
    cases.add(
        "54 google",
        page(
            f'<body><form id="captcha-form">{RECAPTCHA}</form></body>',
            url="https://www.google.com/sorry/index",
            status=429,
        ),
    )
    location = {"Location": "/login?captchaError=1"}
    cases.add("55 redirect", Response(URL, status=302, headers=location))
    yield from cases.all


def _refused_by_others() -> Iterator[Case]:
    cases = Cases()
    for encoding in ("utf-8", "gbk"):
        for script in (
            "alert('验证码不正确！');history.back()",
            "alert('验证码错误');window.location='/login.asp';",
            'alert("验证码输入错误，请重新输入");parent.location.reload();',
        ):
            body = f"<script>{script}</script>".encode(encoding)
            headers = {"Content-Type": f"text/html; charset={encoding}"}
            cases.add("56 alert", HtmlResponse(URL, body=body, headers=headers), "zh")
    for script in (
        "//<![CDATA[\nalert('Invalid Captcha');//]]>",  # as ASP.NET writes it
        "window.onload = function(){alert('Invalid Captcha');};",
        "$(document).ready(function(){ alert('Invalid Captcha'); });",
        "document.addEventListener('DOMContentLoaded', () => {Swal.fire('Captcha incorreto')})",
        "jQuery(document).ready(function($){ toastr.error('Invalid captcha', 'Error'); });",
        "swal('Error', 'Invalid captcha', 'error');",
        "Swal.fire({icon: 'error', title: 'Oops...', text: 'Invalid captcha'});",
        "bootbox.alert('Invalid captcha');",
    ):
        cases.add("56 alert", shown("", after=f"<script>{script}</script>"))
    whole = shown("", after="<script language='javascript'>alert('验证码错误！');</script>")
    cases.add("56 alert after a page", whole, "zh")
    asp = '<img src="CaptchaImage.axd?guid=1"><input name="ctl00$txtCaptcha" id="txtCaptcha">'
    cases.add(
        "57 web forms",
        shown(
            '<span id="lblMessage" style="color:Red;">The code you typed is incorrect.</span>'
            '<span id="val1" style="color:Red;visibility:hidden;">Required</span>'
            '<span id="val2" style="color:Red;display:none;">The session has expired</span>',
            captcha=asp,
        ),
    )
    for encoding, message in (
        ("windows-1251", "Неверный код с картинки"),
        ("gbk", "验证码错误"),
        ("latin-1", "El código de seguridad no es válido"),
    ):
        for markup in (
            f'<font color="red">{message}</font>',
            f'<table><tr><td class="err">{message}</td></tr></table>',
            f"<center><b>{message}</b></center>",
        ):
            cases.add("58 old pages", shown(markup, encoding=encoding))
    for name in ("lblMsg", "lblMessage", "divMessage"):
        error = f'<span id="{name}">Wrong captcha code.</span>'
        cases.add("57 web forms", shown(error, captcha=asp))
    for name in ("altcha-widget", "h-captcha"):
        widget = f'<{name} challengeurl="/altcha"></{name}>'
        error = '<p class="error">Verification failed.</p>'
        cases.add(f"65 the element {name}", shown(error, captcha=widget))
    links = '<div class="error-summary"><ul><li><a href="#captcha">{}</a></li></ul></div>'
    for message in ("The characters you entered do not match the image", "Captcha: wrong code"):
        cases.add("59 a link to the field", shown(links.format(message)))
    for message in (
        "Неверный код, введите код с картинки ещё раз.",
        "Неверный код, введите символы с картинки.",
        "Le code est incorrect. Veuillez recopier les caractères suivants.",
        "The code is wrong. Please enter the following characters.",
    ):
        cases.add("59 what is asked for again", shown(f'<p class="error">{message}</p>'))
    for name in ("is-invalid", "input-validation-error", "error", "border-danger"):
        field = f'<img src="/captcha.php"><input name="captcha" class="form-control {name}">'
        feedback = '<div class="invalid-feedback">Wrong code.</div>'
        form = f"<body><form novalidate><div>{field}{feedback}</div></form></body>"
        cases.add(f"59 Bootstrap's message, the field is {name}", page(form))
    powermail = '<img src="/x.png" alt="captcha"><input name="tx_powermail_pi1[field][captcha]">'
    error = '<div class="error">The code is wrong.</div>'
    cases.add("59 a field of Powermail", shown(error, captcha=powermail))
    error = '<div class="el-form-item__error">Incorrect verification code</div>'
    dialog = '<div class="modal fade {}"><p class="alert alert-danger">Wrong captcha.</p></div>'
    for name in ("show", "in", "is-active", "is-open", "modal-open", "modal--active", "d-block"):
        cases.add("59 a dialog that is open", shown("", after=dialog.format(name)))
    dialog = '<div class="modal" style="display: block"><p class="error">Wrong captcha.</p></div>'
    cases.add("59 a dialog that is open", shown("", after=dialog))
    dialog = '<dialog class="modal" open><p class="error">Wrong captcha.</p></dialog>'
    cases.add("59 a dialog that is open", shown("", after=dialog))
    body = '<div class="cookie-notice alert">We use cookies.</div><p class="error">Bad captcha</p>'
    cases.add("59 beside a banner", page(f"<body>{body}<form>{PICTURE}</form></body>"))
    for captcha in (
        '<img src="data:image/png;base64,iVBOR"><input name="verifyCode">',
        '<svg viewBox="0 0 9 9"><path d="M0"/></svg><input id="vcode">',
        '<canvas></canvas><input name="captchaCode">',
    ):
        cases.add("59 pictures", shown(error, captcha=captcha))
    outside = '<img src="data:image/png;base64,iVBOR">'
    picture_outside = shown(error, captcha='<input name="captcha">', after=outside)
    cases.add("59 picture outside", picture_outside)
    cases.add(
        "59 no form",
        page(
            '<body><div id="app"><div class="el-form-item is-error"><input name="captcha">'
            f"{outside}{error}</div></div></body>"
        ),
    )
    picture = '<img src="data:image/jpeg;base64,x"><input name="form[captcha]">'
    for group in (
        f"<div><label>Captcha</label><ul><li>Bad code value</li></ul>{picture}</div>",
        f"<p>Incorrect security code<br>{picture}</p>",
        f'<div class="MuiFormControl-root">{picture}<p class="Mui-error">Wrong code</p></div>',
        f'<div>{picture}<button class="refresh">New</button><p class="error">Incorrect</p></div>',
        f'<div>{picture}<input name="url" class="d-none"><p class="error">Incorrect</p></div>',
    ):
        cases.add("61 unmarked", shown("", captcha=group))
    back = '<a href="javascript:history.back()">Back</a>'
    for message, language in (
        ("Incorrect captcha", "en"),
        ("Неверная капча.", "ru"),
        ("验证码错误", "zh"),
        ("El captcha es incorrecto.", "es"),
    ):
        cases.add("62 all there is", text(message, "text/plain"), language)
        cases.add("62 all there is", text(message, "text/html"), language)
        cases.add("62 all there is", page(f"<body><p>{message} {back}</p></body>"), language)
        in_xml = f"""<?xml version="1.0"?><root><![CDATA[{message}<script>if (typeof handle ==
            'function') {{ handle('{message}'); }}</script>]]></root>"""
        cases.add("62 markup in XML", text(in_xml, "text/xml"), language)
    for message in (
        "The CAPTCHA wasn't entered correctly. Go back and try it again.",
        "The captcha has not been entered correctly.",
        "That was not the right captcha answer.",
        "You did not answer the verification questions correctly.",
        "Robot verification failed, please try again.",
        "Der Sicher&shy;heits&shy;code ist fal&#8203;sch.",
        "Your product review was not saved because the captcha is wrong.",
        "Die Datei wurde nicht hochgeladen: Das Captcha ist falsch.",
        "Votre fichier n'a pas été envoyé car le captcha est incorrect.",
        "Sorry, the captcha is wrong. Are you human?",
        "Введенный вами код безопасности, не соответствует отображённому.",
        "Désolé, mauvais captcha, veuillez saisir le captcha à nouveau.",
        "Your answer to the captcha was incorrect. 2 attempts left.",
        "Sorry, code incorrect",
        "Error: wrong code entered",
        "The characters you typed do not match the picture.",
        "You typed the wrong letters",
        "Mistyped code",
        "Incorrect text from the image",
        "Mauvais code",
        "Oops! The captcha you typed was wrong.",
        "Please enter valid captcha",
        "Verification failed. Please try again.",
        "Kindly enter correct captcha",
        "The captcha is incorrect or missing.",
        "Il captcha è errato",
        "Your answer to the math problem was incorrect",
        "Oops, wrong captcha!",
        "The form could not be sent because the captcha was wrong.",
        "Incorrect captcha: your message has not been sent.",
        "You have not entered the captcha code correctly.",
        "You failed the robot test.",
        "The typed code is incorrect",
        "Verification code error",
        "The letters and numbers you typed do not match the image",
        "The entered characters are incorrect",
        "Die eingegebenen Zeichen sind falsch.",
        "De ingevoerde code is onjuist.",
        "De code klopt niet",
        "Ce n'est pas le bon code.",
        "This action could not be completed: wrong captcha",
        "Unable to log in: invalid captcha",
        "Captcha solved incorrectly",
        "The captchas don't match",
        "No ha superado el captcha",
        "Erro na validação do captcha",
        "The CAPTCHA thinks you are a robot! Please refresh and try again.",
        "Die Eingabe des Captchas war falsch.",
        "Das war keine gültige Lösung für das Captcha.",
        "La validación humana: captcha inválido",
        "Zadal jste špatně captchu",
        "画像認証が正しく入力されていません",
        "보안코드를 올바르게 입력하지 않았습니다",
        "Ошибка в коде",
        "이미지의 문자가 일치하지 않습니다",
        "La risposta alla domanda di sicurezza non è corretta.",
        "La consulta del dominio no se realizó: el captcha es incorrecto",
        "Неверный код с картинки, проверка домена невозможна",
        "图形验证码错误，无法查询域名",
        "画像認証が正しくありません。ドメインを検索できません",
        "Tekst z rysunku jest nieprawidłowy",
        "Текст с рисунка введён неверно",
        "Ellenőrző szöveg nem egyezik",
        "The sum does not match",
        "إجابة التحقق غير صحيحة",
        "Рамзи санҷиш нодуруст",
    ):
        for captcha in (PICTURE, RECAPTCHA):
            error = f'<div class="alert alert-danger">{message}</div>'
            cases.add(f"63 {message}", shown(error, captcha=captcha))
    for message in ("验证码校验失败", "验证码验证失败"):
        cases.add(f"44 {message}", answer({"code": 500, "msg": message}), "zh")
        cases.add(f"63 {message}", shown(f'<div class="error">{message}</div>'), "zh")
    for code in ("LOGIN_INVALID_CAPTCHA", "login.invalid_captcha", "INVALID_LOGIN_CAPTCHA"):
        cases.add(f"45 {code}", answer({"error": code}, status=400))
    next_picture = "data:image/png;base64," + 50 * "iVBORw0KGgo"
    for number, error in enumerate(
        (
            {"type": "error", "text": "Wrong captcha"},
            {"icon": "error", "title": "Oops...", "text": "Wrong captcha"},
            {"messages": [{"level": "error", "text": "Wrong captcha"}]},
            {"captcha_error": "Wrong captcha", "captcha_img": next_picture},
            {"captcha_error": "Wrong captcha", "captcha_img": "<img src='/captcha?2'>"},
            {"violations": [{"propertyPath": "captcha", "message": "This value is not valid."}]},
            {"errors": [{"property": "captcha", "constraints": {"isValid": "It is invalid"}}]},
            {"response_code": "403", "response_desc": "Captcha mismatch"},
            {"exception": "InvalidCaptchaException"},
            {"error": "Неверный код с картинки"},
            {"error": "The code from the image is wrong"},
            {"mensaje": "El código de la imagen es incorrecto"},
            {"mensagem": "Captcha inválido", "codigo": 3},
            {"estado": "error", "mensaje": "Captcha incorrecto"},
            {"fehler": "Captcha falsch"},
            {"hata": "Captcha hatalı"},
            {"errors": {"general": {"footer": "<p>Captcha verification failed</p>"}}},
            {"messages": {"captcha": {"badCaptcha": "Captcha value is wrong"}}},
            {"error": "Invalid ALTCHA payload"},
            {"error": "Captcha incorrect", "player": {"score": 12.5}},
        )
    ):
        cases.add(f"45 members, {number}", answer(error))
    failed = {"success": False, "errors": [{"field": "captcha", "message": "is invalid"}]}
    cases.add("64 GraphQL", answer({"data": {"login": failed}}))
    yield from cases.all


REFUSED: Final = tuple(_refused())
