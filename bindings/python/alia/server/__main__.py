"""python3 -m alia.server MODEL"""
import argparse
import gc
import sys
from pathlib import Path

import uvicorn

from .._errors import Error
from .._model import Model
from .app import Server
from .connection import connection
from .keys import read_keys
from .limits import Limits
from .local import LocalOnly, is_local

examples = """examples:
  python3 -m alia.server model.gguf
  python3 -m alia.server model.gguf --name salamandra --context 8192 --sequences 32
  python3 -m alia.server model.gguf --host 0.0.0.0 --api-keys keys.txt

  curl http://127.0.0.1:8000/v1/chat/completions -H "Content-Type: application/json" \\
      -d '{"messages": [{"role": "user", "content": "What is the capital of Spain?"}]}'
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m alia.server", description="Serves a model with OpenAI's interface, and a page to try it at /.",
        epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Limits()
    parser.add_argument("model", metavar="MODEL", help="GGUF file, Hugging Face directory, or .safetensors file")
    parser.add_argument("--name", help="the model's id in requests; by default the file's name without its ending")
    parser.add_argument("--host", default="127.0.0.1", help="address; by default this machine alone can connect")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one (default: %(default)s)")
    parser.add_argument(
        "--api-keys", metavar="FILE",
        help="keys, one on a line, of which requests need one; otherwise those of the environment's ALIA_API_KEYS",
    )
    parser.add_argument("--access-log", action="store_true", help="tell of every request on standard output")
    model = parser.add_argument_group("model")
    model.add_argument("--device", help='"auto", "cpu", "cuda:0", ...')
    model.add_argument("--threads", type=int, default=0, help="of CPU devices; 0: what the machine allows")
    model.add_argument("--context", type=int, help="positions of a sequence at most (default: the model's, up to 4096)")
    formats = ("auto", "f32", "f16", "bf16", "q8_0", "fp8")
    model.add_argument("--cache", default="auto", choices=formats, help="format of the KV cache")
    model.add_argument("--sequences", type=int, default=16, help="that run at once (default: %(default)s)")
    model.add_argument("--positions", type=int, default=0, help="that the KV cache holds in all; 0: as --context")
    model.add_argument("--chunk", type=int, default=256, help="tokens of prompts in one step (default: %(default)s)")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--queue", type=int, default=default.queue, help="choices that wait (default: %(default)s)")
    limits.add_argument("--max-tokens", type=int, default=default.tokens, help="of a choice; 0: what the context holds")
    limits.add_argument("--max-body", type=int, default=default.body, help="bytes of a body (default: %(default)s)")
    limits.add_argument("--max-prompts", type=int, default=default.prompts, help="of a request (default: %(default)s)")
    limits.add_argument("--time-limit", type=float, default=default.seconds, help="seconds of an answer (%(default)g)")
    limits.add_argument(
        "--body-time-limit", type=float, default=default.body_seconds,
        help="seconds until a request's head, and then its body, is there (%(default)g)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        keys = read_keys(given.api_keys)
        with Model(given.model, load="headers", progress=False) as headers:
            longest: int = headers.info["context"]
    except (Error, OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    local = is_local(given.host)
    if not keys and not local:
        print(f"{parser.prog}: without --api-keys everybody who reaches {given.host} can ask", file=sys.stderr)
    server = Server(
        given.model,
        name=given.name or Path(given.model).absolute().name.removesuffix(".gguf").removesuffix(".safetensors"),
        model={"device": given.device, "threads": given.threads},
        engine={
            "context": given.context or min(longest, 4096), "cache": given.cache, "sequences": given.sequences,
            "positions": given.positions, "chunk": given.chunk,
        },
        limits=Limits(
            body=given.max_body, body_seconds=given.body_time_limit, seconds=given.time_limit, tokens=given.max_tokens,
            queue=given.queue, prompts=given.max_prompts,
        ),
        keys=keys,
    )
    app = server.app if keys or not local else LocalOnly(server.app)
    gc.freeze()  # what is here now stays; collections need not look at it
    uvicorn.run(
        app, host=given.host, port=given.port, http=connection(given.body_time_limit), access_log=given.access_log,
        proxy_headers=False, server_header=False, ws="none",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
