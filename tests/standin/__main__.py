"""``python -m tests.standin --port 0 --config config.json`` runs the stand-in until it is ended."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
from pathlib import Path

from .config import Config
from .server import listen


async def serve(config: Config, port: int, *, until_eof: bool) -> None:
    """Listen, say where in one line of JSON, and go on; at the end of stdin, if asked, stop."""
    _, main, other, main_port, other_port = await listen(config, port)
    sys.stdout.write(json.dumps({"port": main_port, "other_port": other_port}) + "\n")
    sys.stdout.flush()
    if until_eof:
        await asyncio.to_thread(sys.stdin.buffer.read)
    else:
        await main.serve_forever()
    main.close()
    other.close()


def run(arguments: list[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="standin", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--config", help="a JSON file, or - for one line of stdin")
    parser.add_argument("--until-eof", action="store_true", help="end when stdin is closed")
    given = parser.parse_args(arguments)
    text = "{}"
    if given.config == "-":
        text = sys.stdin.readline()
    elif given.config is not None:
        text = Path(given.config).read_text(encoding="utf-8")
    gc.freeze()
    asyncio.run(serve(Config.of(json.loads(text)), given.port, until_eof=given.until_eof))


if __name__ == "__main__":
    run()
