"""The page at /: one file, which may run and show nothing but what it holds and talk to nobody but this server."""
import base64
import hashlib
import re
from pathlib import Path

from starlette.responses import HTMLResponse, Response


def page() -> Response:
    html = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    inline = {kind: _hashes(html, kind) for kind in ("script", "style")}
    policy = (
        f"default-src 'none'; script-src {inline['script']}; style-src {inline['style']}; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"})


def _hashes(html: str, kind: str) -> str:
    texts = re.findall(rf"(?s)<{kind}>(.*?)</{kind}>", html)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)
