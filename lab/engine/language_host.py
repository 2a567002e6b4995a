"""Pulumi's Python language host, on the SDK's own server for inline programs.

The engine starts it, reads a port from its standard output and asks it to run the program (``Run``), to start
plugins written in Python (``RunPlugin``) and for a few facts. Which plugins a program needs is left to its resource
registrations, which name them with their versions. The program runs in this very process, which
serves one operation of the engine and then ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib.metadata
import logging
import os
import queue
import runpy
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pulumi
from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.automation._server import LanguageServer
from pulumi.runtime import reset_options, run_in_stack, set_all_config
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from lab.engine import ENGINE_VERSION


class LanguageHost(LanguageServer):
    """One engine's language host."""

    def __init__(self, engine: str) -> None:
        super().__init__(lambda: None)
        self.engine = engine
        self.children: set[subprocess.Popen[bytes]] = set()

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return plugin_pb2.PluginInfo(version=ENGINE_VERSION)

    def GetProgramDependencies(self, request: Any, context: grpc.ServicerContext) -> Any:
        dependencies = {found.metadata["Name"]: found.version for found in importlib.metadata.distributions()}
        return language_pb2.GetProgramDependenciesResponse(
            dependencies=[
                language_pb2.DependencyInfo(name=name, version=version)
                for name, version in sorted(dependencies.items())
            ]
        )

    def InstallDependencies(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Nothing to install: `make up` has set up the virtual environment this runs in, with its locked packages."""
        note = f"Python packages are those of {sys.prefix}, installed from requirements.txt by `make up`.\n"
        yield language_pb2.InstallDependenciesResponse(stdout=note.encode())

    def RuntimeOptionsPrompts(self, request: Any, context: grpc.ServicerContext) -> Any:
        return language_pb2.RuntimeOptionsResponse()

    def Run(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Run the program. What goes wrong is shown as the official host shows it, and only once."""
        return contextvars.copy_context().run(self._run, request)

    def _run(self, request: Any) -> Any:
        # As the official host does: futures of a failed program that nobody awaits are no news to its author.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        program = Path(request.info.program_directory, request.info.entry_point).resolve()
        os.chdir(request.pwd or request.info.program_directory)
        reset_options(
            project=request.project,
            stack=request.stack,
            organization=request.organization or "organization",
            monitor_address=request.monitor_address,
            engine_address=request.args[0] if request.args else self.engine,
            parallel=request.parallel,
            preview=request.dryRun,
        )
        set_all_config(dict(request.config), list(request.configSecretKeys))
        sys.argv = [str(program), *request.args]

        def execute() -> None:
            runpy.run_path(str(program), run_name="__main__")

        loop = asyncio.new_event_loop()
        loop.set_default_executor(ThreadPoolExecutor(max_workers=max(request.parallel, 1) * 4))
        loop.set_exception_handler(self._exception_handler)
        try:
            loop.run_until_complete(run_in_stack(execute))
            return language_pb2.RunResponse()
        except BaseException as error:
            if message := told(error, program):
                pulumi.log.error(message)
            return language_pb2.RunResponse(bail=True)
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    loop.run_until_complete(task)
            loop.close()
            sys.stdout.flush()
            sys.stderr.flush()

    def RunPlugin(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """Start a plugin written in Python and pass on what it prints, until it ends or the engine lets go of it."""
        folder = Path(request.info.program_directory)
        command = [interpreter(folder, MessageToDict(request.info.options)), "-u", str(folder), *request.args]
        environment = {**os.environ, **dict(item.split("=", 1) for item in request.env)}
        child = subprocess.Popen(
            command,
            cwd=request.pwd or folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.children.add(child)
        context.add_callback(child.terminate)
        lines: queue.Queue[tuple[str, bytes] | None] = queue.Queue()

        def pump(name: str, stream: Any) -> None:
            for line in stream:
                lines.put((name, line))
            lines.put(None)

        for name, stream in (("stdout", child.stdout), ("stderr", child.stderr)):
            threading.Thread(target=pump, args=(name, stream), daemon=True).start()
        for _ in ("stdout", "stderr"):
            while (item := lines.get()) is not None:
                name, line = item
                yield (
                    language_pb2.RunPluginResponse(stdout=line)
                    if name == "stdout"
                    else language_pb2.RunPluginResponse(stderr=line)
                )
        code = child.wait()
        self.children.discard(child)
        yield language_pb2.RunPluginResponse(exitcode=code)

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:
        for child in list(self.children):
            child.terminate()
        return empty_pb2.Empty()


def told(error: BaseException, program: Path) -> str:
    """What to say of a program that failed; empty where the engine has already said it."""
    if isinstance(error, pulumi.RunError):
        return str(error)
    if isinstance(error, SystemExit):
        return "" if error.code in (None, 0) else f"The program ended itself with exit status {error.code}."
    if isinstance(error, grpc.RpcError):
        # The engine has reported the resource that failed and hung up on us; that is the whole story.
        code = error.code()
        return (
            ""
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            else f"RPC error: {error.details()}"
        )
    if not (program / "__main__.py").exists() and not program.is_file():
        return f"unable to find main python program `__main__.py` in `{program}`"
    frames = traceback.extract_tb(error.__traceback__)
    folder = program if program.is_dir() else program.parent
    own = next((i for i, frame in enumerate(frames) if Path(frame.filename).is_relative_to(folder)), 0)
    lines = traceback.format_list(frames[own:]) + traceback.format_exception_only(error)
    return "Program failed with an unhandled exception:\n" + "".join(lines)


def interpreter(folder: Path, options: dict[str, Any]) -> str:
    """The Python a plugin runs on: its ``virtualenv`` where there is one, else ours."""
    if named := options.get("virtualenv"):
        found = (folder / named / "bin" / "python").absolute()
        if found.exists():
            return str(found)
    return sys.executable


def main() -> None:
    """Serve on a free port of this machine, which the engine reads from standard output."""
    arguments = [word for word in sys.argv[1:] if not word.startswith("-")]
    server = grpc.server(ThreadPoolExecutor(max_workers=16), options=_GRPC_CHANNEL_OPTIONS)
    host = LanguageHost(arguments[0] if arguments else "")
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    # The engine ends us with an interrupt, and waits five seconds for it; Ctrl-C itself does not reach our group.
    with suppress(KeyboardInterrupt):
        server.wait_for_termination()
    for child in list(host.children):
        child.terminate()
    sys.stdout.flush()
    os._exit(0)
