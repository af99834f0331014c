"""Errors as OpenAI's clients read them."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException

from greaves.base.text import printable


class ApiError(HTTPException):
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
        after = {} if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(status, printable(message), after)  # it may quote the request
        self.code, self.param = code, param and printable(param)

    @property
    def body(self) -> dict[str, Any]:
        """The reply, in OpenAI's form."""
        kind = "invalid_request_error" if self.status_code < 500 else "server_error"
        fault = {"message": self.detail, "type": kind, "param": self.param, "code": self.code}
        return {"error": fault}
