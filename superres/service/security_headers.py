"""Security headers of every service with web pages."""

from flask import Flask, Response

_SAME_EVERYWHERE = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_ONE_YEAR = 31_536_000


def send_security_headers(
    app: Flask,
    *,
    images: str,
    forms: str,
    referrer: str,
    cache: str,
    https_only: bool = False,
) -> None:
    """Adds security headers to every response.

    Args:
        app: the application.
        images: where pages may load images from (``img-src``).
        forms: where pages may send forms (``form-action``).
        referrer: the ``Referrer-Policy``.
        cache: ``Cache-Control`` of responses that have none.
        https_only: whether browsers shall use HTTPS for a year (HSTS).
    """
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        f"img-src {images}; base-uri 'none'; form-action {forms}; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    )
    headers = _SAME_EVERYWHERE | {"Content-Security-Policy": policy, "Referrer-Policy": referrer}
    if https_only:
        headers["Strict-Transport-Security"] = f"max-age={_ONE_YEAR}"

    def add_headers(response: Response) -> Response:
        response.headers.update(headers)
        response.headers.setdefault("Cache-Control", cache)
        return response

    app.after_request(add_headers)
