"""The pages of the shops."""

from __future__ import annotations

PRODUCTS = 10
"""The number of products in each shop."""

WRONG_TEXT = "The characters you typed do not match the picture. Please try again."
EXPIRED = "Your session has expired. Please try again."
TURNSTILE = "Verification failed: invalid-input-response"

# As in many shops, a script on every page contains the captcha's error messages.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><title>{title}</title>
<script>
const captcha = {{error: '<form class="captcha"><p class="error">{wrong}</p></form>'}};
</script>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def page(title: str, body: str) -> str:
    return _PAGE.format(title=title, wrong=WRONG_TEXT, body=body)


def listing(host: str) -> str:
    """The page of links to all products."""
    links = (f'<li><a class="product" href="/{n}">Product {n}</a>' for n in range(PRODUCTS))
    return page(host, "\n".join(links))


def product(host: str, path: str) -> str:
    """The page behind the captcha. It mentions captchas but rejects nothing."""
    return page(
        f"{host}, product {path}",
        f'<p class="price">€ {len(host) + int(path)}.00</p>\n'
        f"<blockquote>“Lovely, but at the door I read: {WRONG_TEXT}”</blockquote>",
    )


def form(path: str, captcha: str, error: str = "") -> str:
    """The page with the captcha that protects a product."""
    message = f'<p class="error">{error}</p>' if error else ""
    return page(
        "Are you human?",
        f'<form class="captcha" method="post" action="/{path}">\n'
        f"{message}{captcha}<button>Continue</button>\n</form>",
    )


def picture(picture_id: str) -> str:
    """A picture and its field."""
    return (
        f'<img src="/{picture_id}" alt="five characters">\n'
        f'<input type="hidden" name="picture" value="{picture_id}"><input name="text">'
    )
