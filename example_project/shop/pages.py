"""What the shop's pages look like."""

from __future__ import annotations

PRODUCTS = 50
PER_PAGE = 10
SITEKEY = "0x4AAAAAAAexample"

WRONG_TEXT = "The characters you typed do not match the picture. Please try again."
EXPIRED = "Your session has expired. Please try again."

_MATERIALS = ("Oak", "Linen", "Copper", "Glass", "Woollen")
_THINGS = (
    "lamp",
    "basket",
    "kettle",
    "blanket",
    "shelf",
    "teapot",
    "stool",
    "mirror",
    "tray",
    "doormat",
)

# On every page, as in many a shop: a script that knows the captcha's messages by heart.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><title>{title}</title>
<script>
const captcha = {{error: '<form class="captcha"><p class="error">{wrong}</p></form>'}};
</script>
</head>
<body>
{body}
</body>
</html>
"""


def page(title: str, body: str) -> str:
    return _PAGE.format(title=title, wrong=WRONG_TEXT, body=body)


def name(product: int) -> str:
    """The name of product number *product*, from 0 on."""
    return f"{_MATERIALS[product // len(_THINGS)]} {_THINGS[product % len(_THINGS)]}"


def listing(number: int) -> str:
    """A page of links to products; *number* is 1 or more."""
    first = (number - 1) * PER_PAGE
    shown = range(first, min(first + PER_PAGE, PRODUCTS))
    links = "".join(f'<li><a class="product" href="/product/{n}">{name(n)}</a>\n' for n in shown)
    more = first + PER_PAGE < PRODUCTS
    next_page = f'<a class="next" href="/?page={number + 1}">More</a>' if more else ""
    return page("All products", f"<ul>\n{links}</ul>\n{next_page}")


def captcha_form(session: str, picture: str, error: str = "") -> str:
    """The form with the picture of this id."""
    message = f'<p class="error">{error}</p>\n' if error else ""
    body = f"""<h1>Are you human?</h1>
<form class="captcha" method="post">
{message}<img src="/captcha/{picture}.png" alt="five characters">
<input type="hidden" name="session" value="{session}">
<input type="hidden" name="picture" value="{picture}">
<input name="text" required> <button>Continue</button>
</form>"""
    return page("Are you human?", body)


def product_page(product: int) -> str:
    """The page behind the captcha. It mentions captchas, and refuses nothing."""
    body = f"""<h1>{name(product)}</h1>
<p class="price">€ {15 + product * 7 % 60}.00</p>
<blockquote>“Lovely, but at the door I read: {WRONG_TEXT}”</blockquote>
<div class="widget" data-sitekey="{SITEKEY}" data-action="/api/reviews/{product}"></div>"""
    return page(name(product), body)


def reviews(product: int, number: int) -> dict[str, object]:
    """Page *number* of a product's reviews; every fifth product has two."""
    more = product % 5 == 0 and number == 1
    return {
        "reviews": [
            f"{name(product)}, as described.",
            "Told me captcha_invalid twice, then delivered.",
        ],
        "next": f"/api/reviews/{product}?page=2" if more else None,
    }


def widget_refusal() -> dict[str, object]:
    return {"errors": [{"code": "captcha_invalid", "message": "Please confirm that you are human"}]}
