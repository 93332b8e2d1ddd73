"""Answers that look like rejections of a captcha answer and are none, rebuilt small.

Each case is named by the kind of look-alike that it is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from refusals import (
    MEDIAWIKI,
    PHPBB,
    PICTURE,
    RECAPTCHA,
    URL,
    Case,
    Cases,
    answer,
    cf7,
    django,
    django_bootstrap,
    django_hcaptcha,
    django_old,
    django_recaptcha,
    django_table,
    dokuwiki,
    flask_wtf,
    mediawiki,
    mediawiki_edit,
    mybb,
    mybb_login,
    page,
    phpbb,
    phpbb_reply,
    rails,
    rails_flash,
    shown,
    text,
    wp_die,
    wp_login,
    yii,
)
from scrapy.http import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

BACK: Final = {"method": "GET", "redirects": (URL,)}


def alert(message: str, kind: str = "danger") -> str:
    return f'<div class="alert alert-{kind}">{message}</div>'


REQUIRED: Final = {
    "en": "This field is required.",
    "de": "Dieses Feld ist zwingend erforderlich.",
    "fr": "Ce champ est obligatoire.",
    "ru": "Обязательное поле.",
    "es": "Este campo es obligatorio.",
    "ja": "このフィールドは必須です。",
    "pt-br": "Este campo é obrigatório.",
    "it": "Questo campo è obbligatorio.",
    "fa": "این فیلد لازم است.",
    "zh": "这个字段是必填项。",
}
BLANK: Final = {
    "en": "Verification Code cannot be blank.",
    "de": "Prüfcode darf nicht leer sein.",
    "fr": "Code de vérification ne peut être vide.",
    "es": "El código de verificación no puede estar vacío.",
    "ru": "Необходимо заполнить «Проверочный код».",
    "zh": "验证码不能为空。",
    "tr": "Doğrulama Kodu boş bırakılamaz.",
    "pl": "Kod weryfikacyjny nie może pozostać bez wartości.",
    "ko": "확인코드는 공백일 수 없습니다.",
}


def _first_showings() -> Iterator[Case]:
    cases = Cases()
    for method in ("GET", "POST"):
        for name, response in {
            "django": django("").replace(body=django("").body.replace(b"<li></li>", b"")),
            "yii": yii(""),
            "picture": shown(""),
            "widget": shown("", captcha=RECAPTCHA),
            "mybb": mybb(""),
            "terms": shown(alert("You have agreed to the terms.", "info")),
            "login": wp_login(""),
        }.items():
            cases.add(f"1 first showing, {name}", response, method=method)
    yield from cases.all


def _other_fields() -> Iterator[Case]:
    cases = Cases()
    for message in (
        "Password is the wrong length (should be 10 characters)",
        "Bu değer geçerli değil.",
        "Ongeldige invoer.",
        "Bildet du lastet opp er ikke gyldig.",
        "Dvoufaktorový ověřovací kód byl neplatný.",
        "Код купона недійсний.",
        "The username you entered is already taken.",
        "Please enter a valid e-mail address.",
        "Invalid email address",
        "The passwords do not match.",
        "The coupon code is invalid.",
        "Invalid coupon code.",
        "The post code is incorrect.",
        "The date is invalid.",
        "Invalid zip code",
        "The invitation code is wrong.",
        "Invalid value.",
        "Das Passwort ist falsch.",
        "Ungültige E-Mail-Adresse",
        "Benutzername oder Passwort falsch.",
        "Неверный логин или пароль",
        "Неверный формат e-mail",
        "Промокод недействителен",
        "Nom d'utilisateur ou mot de passe incorrect.",
        "Contraseña incorrecta.",
        "用户名或密码错误",
        "邀请码错误",
        "優惠碼無效",
        "ユーザー名またはパスワードが正しくありません。",
        "Kullanıcı adı veya şifre hatalı.",
        "Nieprawidłowe hasło.",
        "Neplatný e-mail.",
    ):
        for captcha in (PICTURE, RECAPTCHA):
            cases.add(f"2 {message}", shown(alert(message), captcha=captcha))
            cases.add(f"2 {message}", shown(alert(message), captcha=captcha), **BACK)
        field_error = (
            '<p class="has-error"><label>Name</label><input name="name">'
            f'<span class="error">{message}</span></p>'
        )
        cases.add(f"2 field: {message}", shown(field_error))
        cases.add(f"2 JSON: {message}", answer({"error": message}, status=400))
        cases.add(f"2 JSON: {message}", answer({"errors": {"name": [message]}}, status=422))
        cases.add(f"2 mybb: {message}", mybb(message))
        cases.add(f"2 mybb, log-in: {message}", mybb_login(message))
        cases.add(f"2 phpbb: {message}", phpbb(message))
        cases.add(f"2 phpbb: {message}", phpbb_reply(message))
        cases.add(f"2 mediawiki: {message}", mediawiki(message))
        cases.add(f"2 dokuwiki: {message}", dokuwiki(message))
        cases.add(f"2 alert: {message}", text(f"<script>alert('{message}')</script>", "text/html"))
        cases.add(f"2 wordpress: {message}", wp_login(message))
        cases.add(f"2 rails: {message}", rails(message))
    other = (
        '<ul class="errorlist" id="id_email_error"><li>Enter a valid email address. Invalid.</li>'
        "</ul>"
    )
    form = django("").replace(body=django("").body.replace(b"<li></li>", b""))
    cases.add("2 django", form.replace(body=form.body.replace(b"<p>", other.encode() + b"<p>", 1)))
    body = (
        '<body><form><p><label>Quantity:</label><input name="n"></p><ul class="errorlist"><li>'
        "Invalid value</li></ul><p><label>Age</label><input name='age'></p><p><label>Text:</label>"
        '<img src="/captcha/image/1/" class="captcha"><input type="hidden" name="captcha_0"><input '
        'name="captcha_1"></p></form></body>'
    )
    cases.add("2 django, the field before", page(body))
    yii_other = (
        '<body><form><div class="form-group field-contactform-name has-error"><label>Name</label>'
        '<input name="ContactForm[name]"><div class="help-block">Name is invalid.</div></div>'
        '<div class="form-group field-contactform-verifycode">'
        '<img id="contactform-verifycode-image" src="/site/captcha">'
        '<input name="ContactForm[verifyCode]">'
        '<div class="help-block"></div>'
        "</div></form></body>"
    )
    cases.add("2 yii", page(yii_other))
    for name in ("coupon", "voucher", "discount", "pin"):
        for error in ("The code is not valid.", "Wrong code"):
            field = f'{PICTURE}<label>Code</label><input name="{name}">'
            cases.add(f"3 {name}: {error}", shown(alert(error), captcha=field))
    cases.add("2 yii, AJAX", answer({"contactform-name": ["Name is invalid."]}))
    cases.add("2 contact form 7", cf7("The e-mail address entered is invalid.", "your-email"))
    yield from cases.all


def _other_codes() -> Iterator[Case]:
    cases = Cases()
    for message in (
        "The verification code we sent you by SMS is incorrect.",
        "Invalid SMS code",
        "The code sent to your phone is wrong.",
        "Incorrect e-mail verification code",
        "Invalid authenticator code",
        "Invalid two-factor code.",
        "The one-time code is invalid.",
        "Wrong OTP",
        "短信验证码错误",
        "手机验证码不正确",
        "邮箱验证码错误",
        "簡訊驗證碼錯誤",
        "Неверный код из СМС",
        "Неверный код из SMS",
        "Der SMS-Code ist falsch",
        "Le code reçu par SMS est incorrect",
        "El código SMS es incorrecto",
        "認証コードが正しくありません（SMS）",
    ):
        for captcha in (PICTURE, ""):
            cases.add(f"3 {message}", shown(alert(message), captcha=captcha))
        cases.add(f"3 JSON: {message}", answer({"code": 500, "msg": message}))
        cases.add(f"3 JSON: {message}", answer({"message": message}, status=400))
        cases.add(f"3 alert: {message}", text(f"<script>alert('{message}')</script>", "text/html"))
    sms = '<input name="sms_code">'
    for message in ("The verification code is incorrect.", "验证码错误", "Неверный код"):
        cases.add(f"3 beside: {message}", shown(sms + alert(message), captcha=sms))
        cases.add(f"3 beside a captcha: {message}", shown(sms + alert(message)))
        otp = '<input name="code" autocomplete="one-time-code">'
        cases.add(f"3 one-time: {message}", shown(otp + alert(message), captcha=""))
    for message in ("Invalid verification code", "The code is incorrect", "Неверный код"):
        cases.add(f"3 JSON: {message}", answer({"error": message}, status=400))
    for code in ("SMS_CODE_INVALID", "INVALID_OTP", "VERIFICATION_CODE_INVALID", "totp_invalid"):
        cases.add(f"3 {code}", answer({"code": code}, status=400))
    yield from cases.all


def _others_in_many_languages() -> Iterator[Case]:
    """What a form says of a name, an upload or a code that is not the captcha's."""
    cases = Cases()
    for message in (
        "Your name contains invalid characters",
        "The subject contains characters that are not valid",
        "Le nom contient des caractères invalides",
        "El nombre contiene caracteres no válidos",
        "O nome contém caracteres inválidos",
        "Il nome contiene caratteri non validi",
        "De naam bevat ongeldige tekens",
        "Namnet innehåller ogiltiga tecken",
        "Имя содержит недопустимые символы",
        "Ім'я містить недопустимі символи",
        "Nazwa zawiera nieprawidłowe znaki",
        "Jméno obsahuje neplatné znaky",
        "Numele conține caractere invalide",
        "A név érvénytelen karaktereket tartalmaz",
        "Ad geçersiz karakterler içeriyor",
        "Το όνομα περιέχει μη έγκυρους χαρακτήρες",
        "Името съдържа невалидни символи",
        "用户昵称含有非法字符",
        "이름에 잘못된 문자가 있습니다",
        "Tên chứa ký tự không hợp lệ",
        "Nama mengandung karakter yang tidak valid",
        "The image type is not valid",
        "L'image envoyée n'est pas valide",
        "Неверный формат изображения",
        "图片格式不正确",
        "画像の形式が正しくありません",
        "The product code is invalid",
        "The access code is incorrect",
        "Reset code is invalid",
        "The code we sent is incorrect",
        "The verification code sent to you is wrong",
        "Der Zugangscode ist falsch",
        "Der Code, den wir Ihnen gesendet haben, ist falsch",
        "Le code d'accès est incorrect",
        "Code de réduction invalide",
        "Le code envoyé est incorrect",
        "Código de activación inválido",
        "Código de invitación inválido",
        "Código de barras inválido",
        "El código enviado es incorrecto",
        "Codice fiscale errato",
        "Codice sconto non valido",
        "Неверный код активации",
        "Неверный код товара",
        "Неверный код из письма",
        "Kod aktywacyjny jest nieprawidłowy",
        "Wysłany kod jest nieprawidłowy",
        "Neplatný aktivační kód",
        "Davet kodu geçersiz",
        "Gönderilen kod hatalı",
        "Kode undangan salah",
        "招待コードが正しくありません",
        "초대코드가 올바르지 않습니다",
        "推荐码错误",
        "我们发送的验证码不正确",
        "动态验证码错误",
        "Недопустимые символы в имени",
        "Nieprawidłowe znaki w nazwie",
        "a/b no és un nom vàlid. Els caràcters següents són invàlids: /",
        "Недопустимый текст сообщения",
        "El texto de la noticia no es válido",
        "Le texte n'est pas valide",
        "Tekst zgłoszenia jest nieprawidłowy",
        "The sum of the items is incorrect",
        "Token de securitate invalid",
        "Érvénytelen biztonsági token",
        "セキュリティトークンが無効です",
        "Hình ảnh URL không hợp lệ.",
        "Kod jemputan yang anda berikan tidak sah.",
        "The QR code in the image is invalid",
        "Invalid characters in the image name",
        "Der QR-Code im Bild ist ungültig",
        "Ungültiger Strichcode im Bild",
        "Code à deux facteurs invalide",
        "Загруженное изображение некорректно",
        "スパム防止のため、日本語を含まない投稿は無効です",
        "Captchas entered incorrectly lead to a block",
        "Erreur lors de la validation du formulaire : veuillez cocher le captcha",
        "Błąd walidacji formularza: zaznacz captcha",
        "Eroare la validarea formularului: bifați captcha",
        "Greška pri validaciji: popunite captcha",
        "Validation error: please tick the captcha box",
        "Error al comprobar el formulario: marque el captcha",
        "Erro ao validar o formulário: preencha o captcha",
        "Errore durante la validazione del modulo: spuntare il captcha",
        "Fejl ved validering af formularen: udfyld captcha",
        "画像認証は正しく入力されています",
        "画像認証が正しく入力されていれば送信できます",
        "The search string you entered is not valid",
        "Nieprawidłowy ciąg znaków w nazwisku",
        "El resultado de la operación es incorrecto: saldo insuficiente",
        "Неправильный пример решения",
        "VIN-код неверный",
        "کد ملی اشتباه است",
        "Forms with a wrong captcha are not sent.",
    ):
        for captcha in (PICTURE, RECAPTCHA):
            cases.add(f"2 {message}", shown(alert(message), captcha=captcha))
        cases.add(f"2 JSON: {message}", answer({"message": message}, status=400))
    for name in ("invite_code", "couponCode", "activation_code"):
        field = f'<input name="{name}">'
        cases.add(f"3 {name}", shown(alert("The code is incorrect.") + field))
    yield from cases.all


def _codes_of_other_things() -> Iterator[Case]:
    """Codes and pictures that are not the captcha's, on a page that has a captcha, too."""
    cases = Cases()
    for message in (
        "Invalid room code",
        "The verification code of the document is not valid",
        "Verification failed for document no. 123",
        "Student code not valid",
        "The item code is invalid",
        "Invalid stock code",
        "Ticker code incorrect",
        "Error code 403: invalid",
        "Invalid authentication code",
        "The code does not match our records.",
        "The answer to your security question is incorrect.",
        "The picture is not valid (JPG, PNG only).",
        "The text in the subject is invalid",
        "Please enter a valid name (letters only).",
        "Invalid format: only letters and digits allowed",
        "Wrong number of characters",
        "Your card was declined. The security code is incorrect.",
        "Enter the code from your authenticator app. Invalid code.",
        "Invalid code. Please check your email and try again.",
        "We have sent you an email. The code you entered is wrong.",
        "Código de reserva incorrecto",
        "O código do imóvel é inválido",
        "Code de réservation incorrect",
        "Code couleur invalide",
        "Codice di prenotazione non valido",
        "Неверный код региона",
        "Nieprawidłowy kod oddziału",
        "Neplatný kód produktu",
        "Geçersiz okul kodu",
        "Mã số thuế không đúng",
        "کد محصول اشتباه است",
        "Der Code ist falsch. Bitte prüfen Sie Ihre E-Mails.",
        "Le code est incorrect. Vérifiez vos SMS.",
        "El código es incorrecto. Revise su correo electrónico.",
        "Код неверный. Проверьте СМС.",
    ):
        for captcha in (PICTURE, RECAPTCHA):
            cases.add(f"3 {message}", shown(alert(message), captcha=captcha))
    for field in ('<input name="code">', '<input name="member_code">', '<input name="ref">'):
        group = '<div class="form-group has-error"><label>Code</label>{}<span class="help-block">{}'
        group = f"{group.format(field, 'Code is not valid')}</span></div>"
        for captcha in (PICTURE, RECAPTCHA):
            cases.add(f"3 in its group: {field}", shown(group, captcha=f"<p>{captcha}</p>"))
    sent = "<p>We sent a code to +1 ••• 44. Enter it below.</p>"
    for name in ("verification_code", "verificationCode", "auth_code", "security_code"):
        field = f'<input name="{name}">'
        for message in ("Invalid verification code.", "That code didn't match. Please try again."):
            page_of_code = shown(
                alert(message),
                captcha=field,
                before=f'<header><img src="/logo.png"></header><h1>Verify it is you</h1>{sent}',
            )
            cases.add(f"3 {name}: {message}", page_of_code)
    for field in (
        '<input name="security_code" autocomplete="cc-csc">',
        '<input name="securityCode" placeholder="CVV">',
        '<input name="cvc" autocomplete="cc-csc">',
    ):
        for captcha in ("", PICTURE, RECAPTCHA):
            cases.add(f"3 {field}", shown(alert("Invalid security code"), captcha=field + captcha))
    yield from cases.all


def _asked_for_after_another_error() -> Iterator[Case]:
    """What failed is the log-in or the message, and the captcha is asked for after a comma."""
    cases = Cases()
    for message in (
        "Authentication failed, enter the captcha to try again",
        "Login failed, please enter the captcha.",
        "Invalid login, please enter the captcha",
        "Wrong username. After 3 failed attempts, a captcha is shown",
        "Anmeldung fehlgeschlagen, bitte Captcha eingeben",
        "Accesso fallito, inserisci il captcha",
        "Falha no login, digite o captcha",
        "Giriş başarısız, lütfen captcha girin",
        "Logowanie nie powiodło się, wpisz captcha",
        "Wrong password. After 3 failed attempts you will be asked for a captcha.",
        "Falsches Passwort. Nach drei fehlgeschlagenen Versuchen müssen Sie ein Captcha lösen.",
        "Mot de passe incorrect. Après 3 tentatives échouées vous devrez saisir un captcha.",
        "Contraseña incorrecta. Después de 3 intentos fallidos se mostrará un captcha.",
        "Неверный пароль. После 3 неудачных попыток нужно будет ввести капчу.",
        "Onjuist wachtwoord. Na 3 mislukte pogingen moet u een captcha invullen.",
        "Şifre hatalı. 3 başarısız denemeden sonra captcha gösterilecek.",
        "3回失敗するとキャプチャが表示されます",
        "3회 실패하면 캡차가 표시됩니다",
        "Sau 3 lần thất bại bạn sẽ phải nhập captcha",
        "Setelah 3 kali gagal Anda akan diminta captcha",
        "Your last login attempt failed so we need you to complete a captcha",
        "Captcha solved, login failed",
        "Invalid registration number or captcha",
        "The captcha or the case number is invalid.",
        "Captcha oder Kundennummer falsch",
        "El número o el captcha es incorrecto",
        "Неверный номер или капча",
        "编号或验证码错误",
    ):
        for captcha in (PICTURE, RECAPTCHA):
            cases.add(f"9 {message}", shown(alert(message), captcha=captcha))
        cases.add(f"9 JSON: {message}", answer({"message": message}, status=400))
        cases.add(f"9 alert: {message}", text(f"<script>alert('{message}')</script>", "text/html"))
    yield from cases.all


def _beside_the_button() -> Iterator[Case]:
    """The error of the whole form, between the captcha and the button."""
    cases = Cases()
    fields = '<p><input name="user"></p><p><input type="password" name="pass"></p>'
    for message in (
        "Login failed",
        "Invalid login.",
        "Authentication failed.",
        "Registration failed. Please try again.",
        "The details you entered are incorrect.",
        "Invalid reference number",
        "Anmeldung fehlgeschlagen",
        "Datos incorrectos",
        "Неверные данные",
        "登录失败",
        "ログインに失敗しました",
    ):
        error = f'<div class="error">{message}</div>'
        for captcha in (PICTURE, RECAPTCHA):
            for end in (
                f"{captcha}{error}<button>Log in</button>",
                f'{error}{captcha}<input type="submit">',
                f'<div class="actions">{captcha}{error}<button>Log in</button></div>',
                f'<p>{captcha}</p>{error}<p><input type="submit"></p>',
            ):
                form = f'<form method="post">{fields}{end}</form>'
                cases.add(f"9 {message}", page(f"<body>{form}</body>"))
    picture = '<td><img src="captcha.jpg"></td><td><input name="captcha_text"></td>'
    for message in (
        "Invalid registration number",
        "Vehicle number is incorrect. Re-enter the captcha.",
        "CNPJ inválido. Digite novamente os caracteres.",
        "Неверный ИНН. Введите капчу заново",
        "号码错误，请重新输入验证码",
    ):
        error = f'<span class="errMsg">{message}</span>'
        rows = f'<tr><td>No.</td><td><input name="regno"></td></tr><tr>{picture}</tr>'
        for table in (
            f"{error}<table>{rows}</table>",
            f'<table>{rows}<tr><td colspan="2">{error}</td></tr></table>',
        ):
            form = f'<form method="post">{table}<input type="submit"></form>'
            cases.add(f"2 a register: {message}", page(f"<body>{form}</body>"))
    yield from cases.all


def _missing() -> Iterator[Case]:
    cases = Cases()
    for language, message in REQUIRED.items():
        for build in (django, django_old, django_table, django_bootstrap):
            cases.add("4 required", build(message), language)
        prefixed = f"(Hidden field captcha) {message}"
        cases.add("4 required", django_recaptcha(prefixed), language)
        cases.add("4 JSON", answer({"errors": {"captcha": [message]}}, status=400), language)
    for language, message in BLANK.items():
        cases.add("4 blank", yii(message), language)
        cases.add("4 blank", answer({"contactform-verifycode": [message]}), language)
        cases.add("4 blank", shown(alert(message)), language)
    for message in (
        "Please complete the captcha.",
        "Captcha is required.",
        "The captcha field is required.",
        "Please enter the captcha",
        "Missing captcha",
        "You did not enter the captcha.",
        "You failed to enter the captcha.",
        "Captcha verification failed: the response is missing.",
        "Please prove you are a human.",
        "Please solve the reCAPTCHA to verify that you're not a robot.",
        "It seems you haven't solved the hCaptcha.",
        "Bitte das Captcha ausfüllen.",
        "Das Captcha fehlt.",
        "Введите капчу",
        "Введите код с картинки",
        "Captcha obligatoire",
        "Vous n'avez pas validé le captcha",
        "请输入验证码",
        "请填写验证码",
        "Captcha needed",
        "キャプチャを入力してください。",
        "To continue, confirm that you are not a robot",
        "captcha_required",
    ):
        for captcha in (PICTURE, RECAPTCHA):
            cases.add(f"4 {message}", shown(alert(message), captcha=captcha))
        cases.add(f"4 JSON: {message}", answer({"error": message}, status=400))
        cases.add(f"4 JSON: {message}", answer({"msg": message, "code": 500}))
    for code in (
        *("CAPTCHA_REQUIRED", "captcha_missing", "missing-captcha", "captchaNeeded"),
        *("CAPTCHA_EMPTY", "need_captcha", "captcha_not_provided", "no_captcha_token"),
    ):
        cases.add(f"4 {code}", answer({"error": code}, status=403))
    cases.add("4 vk", answer({"error": {"error_code": 14, "error_msg": "Captcha needed"}}))
    cases.add("4 discord", answer({"captcha_key": ["captcha-required"]}, status=400))
    cases.add("4 hcaptcha", django_hcaptcha("Please prove you are a human."))
    cases.add("4 flask-wtf", flask_wtf("The response parameter is missing."))
    cases.add("4 mediawiki, API", answer({"edit": {"captcha": {"id": "1"}, "result": "Failure"}}))
    yield from cases.all


def _late() -> Iterator[Case]:
    cases = Cases()
    for message in (
        "The captcha has expired.",
        "Captcha expired, invalid.",
        "Invalid captcha: it has expired",
        "Your captcha answer is wrong or has expired.",
        "This captcha was already used.",
        "Captcha verification failed: timeout-or-duplicate",
        "CAPTCHA_CHECK_FAILED : Recaptcha verification failed - DUPE",
        "The captcha timed out. Please try again.",
        "The captcha is not valid any more.",
        "The captcha is not valid anymore",
        "Das Captcha ist abgelaufen.",
        "Captcha ungültig: abgelaufen",
        "Срок действия капчи истёк",
        "Капча устарела, код неверный",
        "Le captcha a expiré.",
        "El captcha ha caducado.",
        "验证码已过期",
        "验证码已失效",
        "验证码过期，请重新获取",
        "キャプチャの有効期限が切れています",
        "captcha_expired",
        "CAPTCHA_EXPIRED_INVALID",
        "invalid-input-response, timeout-or-duplicate",
        "hCaptcha error: The response parameter (verification token) is expired. (120s default)",
    ):
        for captcha in (PICTURE, RECAPTCHA):
            cases.add(f"5 {message}", shown(alert(message), captcha=captcha))
        cases.add(f"5 JSON: {message}", answer({"message": message}, status=400))
        cases.add(f"5 JSON: {message}", answer({"msg": message, "code": 500}))
        cases.add(f"5 wordpress: {message}", wp_login(message))
        cases.add(f"5 alert: {message}", text(f"<script>alert('{message}')</script>", "text/html"))
    for other in ("timeout-or-duplicate", "expired-input-response", "already-seen-response"):
        for codes in ([other], [other, "invalid-input-response"]):
            cases.add(f"5 {codes}", answer({"success": False, "error-codes": codes}))
            cases.add(f"5 {codes}", answer({"error": f"Token: {', '.join(codes)}"}, status=400))
    cases.add("5 discord", answer({"captcha_key": ["response-already-used"]}, status=400))
    relayed = {"message": "Turnstile validation failed", "codes": ["timeout-or-duplicate"]}
    cases.add("5 beside the message", answer(relayed, status=400))
    for cause in ("The captcha format is invalid.", "Not a valid string.", "Invalid type"):
        cases.add(f"4 {cause}", answer({"errors": {"captcha": [cause]}}, status=422))
    for cause in ("The captcha has expired", "captcha_expired", "Please complete the captcha."):
        data = {"message": "Captcha verification failed", "errors": {"captcha": [cause]}}
        cases.add(f"5 beside: {cause}", answer(data, status=422))
    yield from cases.all


def _their_own() -> Iterator[Case]:
    cases = Cases()
    for message in (
        "CSRF token invalid.",
        "Invalid form token",
        "The submitted form was invalid. Try submitting again.",
        "Your session has expired. Please log in again.",
        "Invalid session",
        "Invalid access token",
        "Cookie nonce is invalid",
        "Bad hCaptcha nonce!",
        "The sitekey is not registered with the provided secret.",
        "hCaptcha error: The sitekey is not registered with the provided secret.",
        "hCaptcha error: The remoteip parameter is missing.",
        "The secret parameter is invalid or malformed.",
        "ERROR for site owner: Invalid domain for site key",
        "reCAPTCHA hostname is invalid",
        "reCAPTCHA: invalid private key",
        "curl error: failed to verify captcha",
        "Captcha was not displayed properly",
        "recaptcha action mismatch",
        "Recaptcha verification failed - BROWSER_ERROR",
        "Das Captcha war nicht auf das richtige Domäne angezeigt.",
        "De captcha is niet op het juiste domein ingevuld.",
        "验证码在不正确的域名上完成。",
        "رمز الموقع غير صحيح.",
        "recaptcha_hostname_mismatch",
        "ERROR for site owner: Invalid key type",
        "CAPTCHA verification failed due to internal error: connection timed out",
        "Captcha service unavailable, verification failed.",
        "Could not reach the captcha server.",
        "Captcha verification failed: network error",
        "An error occurred with the human verification by reCAPTCHA. Please try again.",
        "Oops, we failed to validate your reCAPTCHA response. Please try again.",
        "Oops, wir konnten Ihre reCAPTCHA-Antwort nicht validieren. Bitte versuchen Sie es erneut.",
        "Oops, nous n'avons pas pu valider votre réponse reCAPTCHA. Veuillez essayer à nouveau.",
        "Captcha is misconfigured: invalid secret key",
        "The captcha image could not be loaded.",
        "Something went wrong with reCAPTCHA. Please contact the store owner.",
        "Invalid reCAPTCHA keys",
        "Invalid captcha provider",
        "Captcha id is invalid",
        "Failed to refresh captcha",
        "Fehler beim Laden des Captchas",
        "Nie udało się załadować captcha",
        "キャプチャの読み込みに失敗しました",
        "Gagal memuat captcha",
        "验证码加载失败",
        "发送验证码失败",
        "Ошибка сервера при проверке капчи",
        "验证码服务异常",
        "系统错误，验证码获取失败",
    ):
        for captcha in (PICTURE, RECAPTCHA):
            cases.add(f"6-7 {message}", shown(alert(message), captcha=captcha))
        cases.add(f"6-7 JSON: {message}", answer({"message": message}, status=400))
        cases.add(f"6-7 rails: {message}", rails_flash(message))
        cases.add(f"6-7 wordpress: {message}", wp_login(message))
        cases.add(f"6-7 flask-wtf: {message}", flask_wtf(message))
    for code in (
        *("missing-input-secret", "invalid-input-secret", "bad-request", "internal-error"),
        *("sitekey-secret-mismatch", "rqkey-mismatch"),
    ):
        cases.add(f"7 {code}", answer({"success": False, "error-codes": [code]}))
        cases.add(f"7 {code}", answer({"captcha_key": [code]}, status=400))
    for code in (
        *("CAPTCHA_SERVICE_ERROR", "captcha_config_invalid", "CAPTCHA_UNAVAILABLE"),
        *("CAPTCHA_SECRET_INVALID", "csrf_invalid", "INVALID_TOKEN", "rest_cookie_invalid_nonce"),
    ):
        cases.add(f"7 {code}", answer({"code": code}, status=403))
    for reason in ("EXPIRED", "DUPE", "MISSING", "SITE_MISMATCH", "BROWSER_ERROR"):
        data = {"tokenProperties": {"valid": False, "invalidReason": reason}}
        cases.add(f"7 enterprise {reason}", answer(data))
    yield from cases.all


def _limits() -> Iterator[Case]:
    cases = Cases()
    for message in (
        "Too many incorrect captcha attempts.",
        "You have entered a wrong captcha 5 times. Your account is locked.",
        "Captcha incorrect. Please wait 10 minutes and try again.",
        "You have exceeded the number of failed captcha attempts.",
        "Too many wrong captchas, try again later.",
        "You exceeded the maximum allowed number of login attempts. You now also have to pass the "
        "CAPTCHA test.",
        "Zu viele falsche Captcha-Eingaben.",
        "Слишком много неверных попыток ввода капчи",
        "验证码错误次数过多，请稍后再试",
        "验证码输入错误次数过多，账号已锁定",
        "Trop de captchas incorrects, réessayez plus tard.",
        "Demasiados captcha incorrectos.",
    ):
        for captcha in (PICTURE, RECAPTCHA):
            cases.add(f"8 {message}", shown(alert(message), captcha=captcha))
        cases.add(f"8 JSON: {message}", answer({"message": message}, status=400))
        cases.add(f"8 alert: {message}", text(f"<script>alert('{message}')</script>", "text/html"))
        cases.add(f"8 phpbb: {message}", phpbb(message))
    limit = (
        "You have exceeded the maximum number of registration attempts for this session. Please "
        "try again later."
    )
    cases.add("8 phpbb, both", phpbb(f"{PHPBB}<br />{limit}"))
    cases.add("8 429", answer({"error": "Invalid captcha"}, status=429))
    cases.add("8 429", shown(alert("Invalid captcha"), status=429))
    yield from cases.all


def _passwords_and_successes() -> Iterator[Case]:
    cases = Cases()
    for message in (
        "Wrong password. Please also enter the captcha.",
        "You have specified an incorrect password. Please check your password and try again.",
        "<strong>Error:</strong> The password you entered for <strong>ann</strong> is incorrect.",
        "Wrong username, password or captcha.",
        "用户不存在/密码错误",
        "用户名、密码或验证码错误",
        "Benutzername, Passwort oder Captcha falsch.",
    ):
        for captcha in (PICTURE, RECAPTCHA):
            cases.add(f"9 {message}", shown(alert(message), captcha=captcha))
        cases.add(f"9 JSON: {message}", answer({"code": 500, "msg": message}))
        cases.add(f"9 wordpress: {message}", wp_login(message))
        cases.add(f"9 mybb: {message}", mybb_login(message))
    for message in (
        "The captcha was right. Thank you!",
        "Captcha solved successfully, no errors.",
        "Captcha is correct",
        "Captcha richtig.",
        "验证码正确",
    ):
        for kind in ("danger", "success", "info"):
            cases.add(f"10 {message}", shown(alert(message, kind)))
        cases.add(f"10 JSON: {message}", answer({"message": message}))
    for data in (
        {"captcha_error": None, "ok": 1},
        {"captcha_valid": True},
        {"success": True, "message": "Invalid captchas are logged."},
        {"status": "mail_sent", "message": "Thank you. Wrong captcha entries: 0"},
        {"captchaError": False, "errors": []},
        {"errors": {"captcha": []}},
        {"captcha": "https://site.example/captcha/invalid.png", "token": "x"},
    ):
        cases.add(f"10 {data}", answer(data))
    for score in (0.1, 0.3):
        cases.add("16 score", answer({"success": True, "score": score, "action": "login"}))
        low = {"riskAnalysis": {"score": score}, "tokenProperties": {"valid": True}}
        cases.add("16 score", answer(low))
    for message in ("reCAPTCHA score too low", "reCAPTCHA verification failed"):
        cases.add("16 score", answer({"error": message, "score": 0.1}, status=403))
    yield from cases.all


def _hidden_and_hints() -> Iterator[Case]:
    cases = Cases()
    wrong = "The captcha is incorrect."
    for markup in (
        f'<div class="error" style="display:none">{wrong}</div>',
        f'<div class="error" style="display: none;">{wrong}</div>',
        f'<div class="error" hidden>{wrong}</div>',
        f'<div class="error d-none">{wrong}</div>',
        f'<div class="alert alert-danger hidden">{wrong}</div>',
        f'<span style="color:Red;visibility:hidden;">{wrong}</span>',
        f'<template><div class="error">{wrong}</div></template>',
        f'<noscript><div class="error">{wrong}</div></noscript>',
        f'<script type="text/x-template"><div class="error">{wrong}</div></script>',
        f'<div style="display:none"><p class="error">{wrong}</p></div>',
        f'<input name="x" data-error="{wrong}" class="error">',
        f'<div class="error" title="{wrong}"></div>',
        f'<div class="error" data-val-regex="{wrong}"></div>',
        f'<div class="error" ng-show="form.captcha.$error">{wrong}</div>',
        f'<div class="error" v-if="wrong">{wrong}</div>',
        f'<!-- <div class="error">{wrong}</div> -->',
        f'<div class="error"><!-- {wrong} -->Try again.</div>',
        f'<div class="error"><i hidden>{wrong}</i>Try again.</div>',
        f'<details><summary>Questions</summary><p class="error">{wrong}</p></details>',
        f'<div class="modal fade" tabindex="-1"><p class="alert alert-danger">{wrong}</p></div>',
        f'<div class="modal" role="dialog"><p class="alert alert-danger">{wrong}</p></div>',
        f'<div class="mfp-hide error">{wrong}</div>',
        f'<div class="error d-none active">{wrong}</div>',
        f'<dialog class="modal"><p class="error">{wrong}</p></dialog>',
        f'<div class="element-invisible error">{wrong}</div>',
        f'<div class="error no-display">{wrong}</div>',
        f'<div class="error" data-ng-show="form.captcha.$error">{wrong}</div>',
        f'<span class="sr-only error">{wrong}</span>',
        f'<button class="btn btn-danger">Report: {wrong}</button>',
        f'<a class="btn-danger btn" href="/help">{wrong}</a>',
    ):
        cases.add(f"11 {markup}", shown(markup))
        cases.add(f"11 {markup}", shown(markup), **BACK)
    # A script shows these, where the browser finds that a field is not filled in as it must be.
    waiting = (
        '<body><form class="needs-validation" novalidate method="post"><div><input name="email" '
        'class="form-control is-invalid"><div class="invalid-feedback">Unknown e-mail.</div></div>'
        f'<div><img src="/captcha.php"><input name="captcha" class="form-control" required>'
        f'<div class="invalid-feedback">{wrong}</div></div></form></body>'
    )
    cases.add("11 Bootstrap's message for a field that is not wrong", page(waiting))
    for number, markup in enumerate(
        (
            # Elements of Vue and Angular, before a script fills them in.
            f'<b-alert variant="danger" :show="isWrong">{wrong}</b-alert>',
            f'<mat-error *ngIf="captcha.errors">{wrong}</mat-error>',
            # Texts that others wrote, and links to them.
            f'<div id="divMessageList"><p>bob: {wrong}</p></div>',
            f'<div class="notification"><a href="#comment-9">{wrong}</a> by bob</div>',
            f'<ul class="notice"><li><a href="#question-3">{wrong}</a></li></ul>',
        )
    ):
        cases.add(f"11 others' words, {number}", shown(markup))
    waiting = f'<form class="needs-validation" novalidate><b>{wrong}</b>{PICTURE}</form>'
    cases.add("11 a form that Bootstrap checks is no error", page(f"<body>{waiting}</body>"))
    for hint in (
        "Captcha unreadable? Click the picture for a new one.",
        "If the captcha is incorrect, you can try again.",
        "Please enter the characters you see in the picture.",
        "The captcha is not case-sensitive.",
        "Wenn das Captcha falsch ist, klicken Sie auf das Bild.",
        "Если капча неверная, обновите страницу.",
        "Letters are not case-sensitive.",
        "Cannot read the code? Click here.",
        "看不清验证码？点击图片更换",
        "Wrong or unreadable? Click the picture.",
        "Wrong captcha? Click the picture for a new one.",
        "¿Captcha incorrecto? Haga clic en la imagen.",
        "Captcha falsch? Hier klicken.",
        "验证码错误？点击图片更换",
        "Неразборчиво? Обновить",
    ):
        cases.add(f"12 {hint}", shown(alert(hint, "warning")))
        cases.add(f"12 {hint}", shown(f'<span style="color: red;">{hint}</span>'))
        for around in ("<div>{}</div>", "<div><small>{}</small></div>", "<p>{}</p>"):
            own = around.format(f"{PICTURE}{hint}")
            cases.add(f"12 {hint}", shown("", captcha=own))
        group = f'<div class="has-error"><label>{hint}</label>{PICTURE}</div>'
        cases.add(f"12 {hint}", shown(group, captcha=""))
    for hint in (
        "Please enter the correct characters.",
        "Please enter a valid code",
        "Bitte geben Sie den richtigen Code aus dem Bild ein",
        "请输入正确的验证码",
    ):
        for around in ("<div>{}</div>", '<div><p class="hint">{}</p></div>', "<p>{}</p>"):
            own = around.format(f"{PICTURE}{hint}")
            cases.add(f"12 {hint}", shown("", captcha=own))
    yield from cases.all


def _words_as_data() -> Iterator[Case]:
    cases = Cases()
    wrong = "The captcha is incorrect."
    messages = {"captcha_invalid": wrong, "captcha_required": "Captcha is required.", "ok": "Fine"}
    for script in (
        f"const messages = {json.dumps(messages)};",
        f"function check() {{ if (!f.captcha.value) alert('{wrong}'); }}",
        f"if (wrong) alert('{wrong}');",
        f"$('form').submit(function() {{ alert('{wrong}'); return false; }});",
        f"document.onclick = () => alert('{wrong}');",
        f"document.addEventListener('click', () => {{ alert('{wrong}') }})",
        f"$('#captcha').on('change', function() {{ alert('{wrong}') }})",
        f"$(function() {{ $('form').submit(function() {{ alert('{wrong}') }}) }})",
        f"$(function() {{ if (wrong) alert('{wrong}') }})",
        f"swal('Welcome!'); show('{wrong}')",
        f"alert(saved ? 'Thank you' : '{wrong}')",
        f"window.onload = function() {{ alert(window.told || '{wrong}') }}",
        f"alert(errors.captcha, '{wrong}')",
        "alert('Welcome!');",
    ):
        cases.add(f"13 {script}", shown("", after=f"<script>{script}</script>"))
    catalogue = f'<script type="application/json">{json.dumps(messages)}</script>'
    cases.add("13 catalogue", shown(catalogue))
    catalogue = json.dumps({"errorMessages": {"captcha": wrong, "name": "Wrong name"}})
    cases.add("13 catalogue", shown(f'<script type="application/json">{catalogue}</script>'))
    i18n = {"messages": {"errors": {"captcha": wrong}}}
    cases.add("13 catalogue", shown(f'<script type="application/json">{json.dumps(i18n)}</script>'))
    for data in (
        messages,
        {f"captcha-{name}": message for name, message in MEDIAWIKI.items()},
        {"query": {"allmessages": [{"name": "captcha-createaccount-fail", "*": MEDIAWIKI["en"]}]}},
        {"query": {"allmessages": [{"name": "x", "content": MEDIAWIKI["en"]}]}},
        {"captcha-createaccount-fail": MEDIAWIKI["en"], "captcha-edit-fail": MEDIAWIKI["en"]},
        {"translations": {"de": {"error": "Falsches Captcha"}}},
        {"i18n": {"error": wrong}},
        {"de": {"error": {"captcha": "Falsches Captcha"}}, "pt-BR": {"error": "Captcha errado"}},
        {"errors": {"captcha": {"invalid": wrong, "required": "Please fill it in."}}},
        {"captcha.invalid": wrong, "captcha.missing": "Captcha is missing."},
        {"detail": {"ticket": {"subject": wrong}}},
        {"status": 400, "error": "Bad Request", "path": "/api/captcha/verify"},
        {"validationMessages": {"captcha": {"remote": wrong}}},
        {"posts": [{"title": "Invalid captcha error", "message": wrong}]},
        {"comments": [{"message": wrong, "author": "ann"}]},
        {"items": [{"title": wrong, "description": wrong}]},
        {"logs": [{"level": "error", "message": "Invalid captcha"}]},
        {"results": [{"title": "How to fix invalid captcha", "text": wrong}]},
        {"paths": {"/login": {"responses": {"400": {"description": "Invalid captcha"}}}}},
        {"properties": {"captcha": {"description": "Invalid captcha", "type": "string"}}},
        {"changelog": [{"message": "Fix: invalid captcha"}]},
        {"name": "captcha-lib", "description": "Detects a wrong captcha", "version": "1.0.0"},
    ):
        for method in ("GET", "POST"):
            cases.add(f"14 {data}", answer(data), method=method)
    for body in (
        f"<article><h2><a>{wrong}</a></h2><p>{wrong}</p></article>",
        f"<blockquote class='error'>{wrong}</blockquote>",
        f"<pre><code>{wrong}</code></pre>",
        f'<div class="content">{wrong}</div>',
        f'<div id="message_7" style="display:none">{wrong}</div>',
        f'<input name="subject" value="{wrong}">',
        f"<textarea name='body'>{wrong}</textarea>",
        f'<div class="alert alert-success">Your comment “{wrong}” was saved.</div>',
        f'<div class="alert">Your comment <em>{wrong}</em> awaits moderation.</div>',
        f"<table class='errors'><tr><td>captcha_invalid</td><td><code>{wrong}</code></td></tr>"
        "</table>",
        "<div class='notice'>We fixed a bug: a wrong captcha was shown at the log-in.</div>",
        "<div class='alert'>Since Monday some users see the message Invalid captcha.</div>",
        f"<ul class='changelog'><li>Fix the message: {wrong}</li></ul>",
        f"<div class='help'><p>When an answer is wrong we say: {wrong}</p></div>",
    ):
        for captcha in (PICTURE, RECAPTCHA, ""):
            cases.add(f"14 {body}", shown(body, captcha=captcha), method="GET")
            cases.add(f"14 {body}", shown(body, captcha=captcha))
    cases.add("14 title", page(f"<head><title>{wrong}</title></head><body>{PICTURE}</body>"))
    table = "".join(f'<tr class="error"><td>{n}</td><td>{wrong}</td></tr>' for n in range(300))
    cases.add("14 log", shown(f"<table>{table}</table>"), method="GET")
    yield from cases.all


def _searches_settings_and_catalogues() -> Iterator[Case]:
    """The words in what a visitor searched for, and in data that is there on every page."""
    cases = Cases()
    for message in (
        "3 results for <b>captcha wrong</b>",
        "Nothing found for captcha incorrect",
        "Your search - <b>captcha incorrect</b> - did not match any documents.",
        "Keine Ergebnisse für captcha falsch",
        "Aucun résultat pour captcha incorrect",
        "По запросу капча неверная ничего не найдено",
        "Incorrect captchas are logged.",
        "Submissions with an incorrect captcha will be discarded.",
        "Please note: entering a wrong code reloads the page.",
        "<h4>Version 2.3</h4><ul><li>Fixed: invalid captcha on the log-in page</li></ul>",
    ):
        for captcha in (PICTURE, RECAPTCHA):
            cases.add(f"14 {message}", shown(alert(message), captcha=captcha))
    for attribute, data in (
        ('data-drupal-selector="drupal-settings-json"', {"captcha": {"errorMessage": "Wrong."}}),
        ('id="config"', {"errors": {"captcha": "Captcha is incorrect"}}),
    ):
        script = f'<script type="application/json" {attribute}>{json.dumps(data)}</script>'
        cases.add(f"13 {attribute}", shown("", after=script))
    for message in ("Verification failed for your ID", "Oops, something went wrong"):
        for captcha in (PICTURE, RECAPTCHA):
            cases.add(f"2 {message}", shown(alert(message), captcha=captcha))
    for message in ("手机验证码校验失败", "Unable to verify the captcha", "Wrong captcha action"):
        cases.add(f"7 {message}", shown(alert(message)))
        cases.add(f"7 {message}", answer({"code": 500, "msg": message}))
    for message in ("Wrong code. Check your inbox.", "Code cadeau invalide", "Неверный код скидки"):
        cases.add(f"3 {message}", shown(alert(message)))
    post = {"type": "post", "title": "Help", "text": "It always says that the captcha is wrong"}
    cases.add("14 a post", answer(post))
    catalogue = {"CAPTCHA_INVALID": "Captcha is wrong", "PASSWORD_INVALID": "Password is wrong"}
    cases.add("14 catalogue", answer({"errorCodes": catalogue}))
    for code in (
        *("WRONG_PASSWORD_WITH_CAPTCHA", "INVALID_CREDENTIALS_OR_CAPTCHA", "captcha_fail_count"),
        *("INVALID_LOGIN_SHOW_CAPTCHA", "CAPTCHA_INVALID_FORMAT", "INVALID_CAPTCHA_VERSION"),
        "captchalocate.invalid",
    ):
        cases.add(f"9 {code}", answer({"error": code}, status=400))
    unreachable = {"code": "CAPTCHA_VERIFY_ERROR", "message": "Could not reach the captcha service"}
    cases.add("7 the service out of reach", answer(unreachable, status=400))
    yield from cases.all


def _challenges_and_members() -> Iterator[Case]:
    cases = Cases()
    cases.add("15 cloudflare", page("<body>Just a moment...</body>", status=403))
    cases.add("15 block", page("<body>Access denied. Incapsula incident ID: 1</body>", status=403))
    waf = Response(URL, status=405, headers={"x-amzn-waf-action": "captcha"})
    cases.add("15 waf", waf)
    script = '<script src="https://www.google.com/recaptcha/api.js"></script><h1>Teapots</h1>'
    cases.add("15 script", page(f"<body>{script}</body>"), method="GET")
    cases.add(
        "15 datadome", answer({"url": "https://geo.captcha-delivery.com/captcha/?t=bv"}, status=403)
    )
    for data in (
        {"result": "fail", "reason": "no such user"},
        {"status": "success", "result": "fail", "reason": "pass_token expired", "captcha_args": {}},
        {"status": "success", "result": "fail", "reason": "pass_token used", "captcha_args": {}},
        {"code": 500, "msg": "库存不足"},
        {"error_code": 14, "error": "Not found"},
        {"geetest": {"error_code": "02"}},
        {"error_code": "error_02", "status": "error"},
        {"error": "invalid", "code": 500},
        {"captcha": {"enabled": True, "error": None}},
    ):
        cases.add(f"17 {data}", answer(data))
    for location in ("/login?captchaError=2", "/login?xcaptchaError=1", "/account"):
        cases.add("17 redirect", Response(URL, status=302, headers={"Location": location}))
    cases.add(
        "17 contact form 7",
        answer({"status": "spam", "message": "There was an error trying to send your message."}),
    )
    cases.add("17 wp-die", wp_die("Duplicate comment detected; you have already said that!"))
    cases.add("17 mediawiki", mediawiki_edit("The database is locked."))
    yield from cases.all


LOOK_ALIKES: Final = (
    *_first_showings(),
    *_other_fields(),
    *_other_codes(),
    *_others_in_many_languages(),
    *_codes_of_other_things(),
    *_asked_for_after_another_error(),
    *_beside_the_button(),
    *_missing(),
    *_late(),
    *_their_own(),
    *_limits(),
    *_passwords_and_successes(),
    *_hidden_and_hints(),
    *_words_as_data(),
    *_searches_settings_and_catalogues(),
    *_challenges_and_members(),
)
