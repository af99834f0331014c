"""Chat servers that speak OpenAI's protocol: one client for models and for judges.

server = ChatServer("qwen2-audio@http://localhost:8000/v1")
server.ask_all([ChatRequest([{"role": "user", "content": "Say hello."}], max_tokens=16)])
"""

from greaves.base.chat_api.address import Address, parse_address
from greaves.base.chat_api.messages import ChatFailure, ChatReply, ChatRequest
from greaves.base.chat_api.options import ChatOptions, Prices
from greaves.base.chat_api.server import ChatServer

__all__ = [
    "Address",
    "ChatFailure",
    "ChatOptions",
    "ChatReply",
    "ChatRequest",
    "ChatServer",
    "Prices",
    "parse_address",
]
