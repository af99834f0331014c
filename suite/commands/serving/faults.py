"""Errors as OpenAI's clients read them."""

from __future__ import annotations

from typing import Any

from greaves.base.text import printable


class ApiError(Exception):
    """A request that is not answered.

    Args:
        status: of the HTTP reply.
        message: one line.
        code: a short name for programs; None where there is none.
        param: field of the request that is at fault.
        retry_after: seconds after which to ask again; None where that would not help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.message = printable(message)  # it may quote the request
        super().__init__(self.message)
        self.status, self.code, self.param = status, code, param and printable(param)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the reply."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    @property
    def body(self) -> dict[str, Any]:
        """The reply, in OpenAI's form."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code,
            }
        }
