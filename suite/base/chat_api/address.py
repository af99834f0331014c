"""`MODEL@URL`: which model, on which server."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from greaves.base.errors import ModelError

_FORM = "write MODEL@URL, such as qwen2-audio@http://localhost:8000/v1"


@dataclass(frozen=True)
class Address:
    """A model on a server.

    Attributes:
        model: its name there; may hold "/" and "@".
        url: base URL of the server, without a slash at its end; it holds no secrets.
    """

    model: str
    url: str

    @property
    def host(self) -> str:
        """Name or number of the machine, without the port."""
        return (urlsplit(self.url).hostname or "").lower()

    @property
    def takes_default_key(self) -> bool:
        """Whether OPENAI_API_KEY is meant for this server: it is OpenAI's, or on this machine.

        A recipe is a stranger's file now and then; the key must not go wherever that points.
        """
        secure = self.url.startswith("https:")
        openai = self.host == "openai.com" or self.host.endswith(".openai.com")
        return (secure and openai) or is_this_machine(self.host)


def is_this_machine(host: str) -> bool:
    """Whether only processes on this machine can be behind `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_address(text: str) -> Address:
    """Read `MODEL@URL`; the URL is what follows the last "@http://" or "@https://".

    Raises:
        ModelError: a part is missing, or the URL holds a user, a query or a fragment, any of which
            may be a secret; the message does not repeat the address.
    """
    parts = re.split(r"@(?=https?://)", text.strip())
    model, url = "@".join(parts[:-1]), parts[-1]
    if not model or "://" in model or not model.isprintable():
        raise ModelError("the address names no model and server", do=_FORM)
    try:
        parsed = urlsplit(url)
        usable = parsed.hostname and parsed.port != 0 and all("!" <= sign <= "~" for sign in url)
    except ValueError:
        usable = False
    if not usable:
        raise ModelError(f"the address of {model!r} has no usable URL", do=_FORM)
    if "@" in parsed.netloc or parsed.query or parsed.fragment:
        do = "take it out; a key belongs in an environment variable (option key_env)"
        raise ModelError(f"the URL of {model!r} holds a user, a query or a fragment", do=do)
    return Address(model, url.rstrip("/"))
