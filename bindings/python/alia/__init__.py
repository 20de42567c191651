"""libalia from Python: ALIA, Salamandra and other models of the Llama architecture.

    import alia

    with alia.Model("model.gguf") as model, alia.Engine(model) as engine:
        for piece in engine.ask_stream("What is the capital of Spain?", max_tokens=50):
            print(piece, end="", flush=True)
"""
from ._answers import AskOptions, AsyncStream, Completion, Stream
from ._c import ABI_MAJOR, ABI_MINOR, lib
from ._chat import ChatOptions, Message
from ._engine import Engine, Sequence
from ._errors import Error, InvalidArgument, NotFound, OutOfMemory, Status
from ._model import Model, Prompt, Trusted, plan
from ._options import RequestOptions

__all__ = [
    "AskOptions", "AsyncStream", "ChatOptions", "Completion", "Engine", "Error", "InvalidArgument", "Message", "Model",
    "NotFound", "OutOfMemory", "Prompt", "RequestOptions", "Sequence", "Status", "Stream", "Trusted", "plan",
]
lib.alia_abi_check(ABI_MAJOR << 16 | ABI_MINOR)
__version__: str = lib.alia_version().decode()
