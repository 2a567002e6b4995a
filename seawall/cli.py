"""The command line. Thin: each command gathers what it needs and calls one room of the house."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from lab.engine.build import BuildError
from lab.world import BackendError
from seawall.environment import LAB, for_shell
from seawall.places import only_one
from seawall.problem import UNABLE, USAGE, Problem
from seawall.progress import Progress
from seawall.session import Session

app = typer.Typer(
    name="seawall",
    help="Provision, harden, verify and prove a small fortified network on DigitalOcean.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StackName = Annotated[
    str,
    typer.Option("--stack", "-s", envvar="PULUMI_STACK", help="Pulumi stack; `lab` runs on this machine."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
Only = Annotated[list[str] | None, typer.Option("--host", help="Only this droplet (repeatable).")]


def _print(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2, sort_keys=True) + "\n")


@app.command()
def up(
    stack: StackName = LAB,
    as_json: AsJson = False,
) -> None:
    """Provision, harden and verify; picks up whatever an earlier run left."""
    from seawall.job import bring_up

    session = Session.open(stack)
    with only_one(session.where, "up"):
        result = bring_up(session)
    if as_json:
        _print(result.document())
    else:
        typer.echo(result.text())
    raise typer.Exit(result.code)


@app.command()
def setup() -> None:
    """Install and build what the lab needs, and nothing else; `up` does this too."""
    from seawall.job import set_up

    set_up(Progress())


@app.command()
def harden(
    stack: StackName = LAB,
    host: Only = None,
    check: Annotated[bool, typer.Option("--check", help="Tell what would change; change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the hardening roles on a stack's droplets."""
    from seawall.hosts import hosts, named
    from seawall.playbook import play

    session = Session.open(stack)
    standing = hosts(session.standing())
    for name in host or []:
        named(standing, name)
    options = (["--check", "--diff"] if check else []) + (["--limit", ",".join(host)] if host else [])
    with only_one(session.where, "harden"), session.progress.phase("harden") as phase:
        found = play("harden", options, session.where, session.environment, phase)
        phase.done(
            ", ".join(
                f"{recap.host}: {recap.changed} changed" for recap in found if recap.host != "localhost"
            )
        )
    if as_json:
        _print({"hosts": [vars(recap) for recap in found]})


@app.command()
def verify(
    stack: StackName = LAB,
    host: Only = None,
    as_json: AsJson = False,
) -> None:
    """Check every control on every droplet; findings go to .seawall/findings/."""
    from seawall.job import check_controls

    session = Session.open(stack)
    session.standing()
    outcome = check_controls(session, host or [])
    if as_json:
        _print(outcome.document())
    else:
        typer.echo(outcome.text())
    raise typer.Exit(outcome.code)


drift_app = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False)
app.add_typer(drift_app, name="drift")


@drift_app.callback()
def drift(
    context: typer.Context,
    stack: StackName = LAB,
    full: Annotated[bool, typer.Option("--full", help="Every layer, thoroughly (the default).")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Against the last update and hardening.")] = False,
    layer: Annotated[list[str] | None, typer.Option("--layer", help="Only this layer (repeatable).")] = None,
    host: Only = None,
    fix: Annotated[bool, typer.Option("--fix", help="Put right what is safe to; then look again.")] = False,
    as_json: AsJson = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit's XML to this file.")] = None,
    prometheus: Annotated[Path | None, typer.Option(help="Write node_exporter's text to this file.")] = None,
    tell: Annotated[bool, typer.Option("--tell", help="Tell the channels of seawall:drift.tell.")] = False,
) -> None:
    """Say what differs from what was declared. Changes nothing without --fix."""
    from seawall.drift import command, formats

    context.obj = stack
    if context.invoked_subcommand:
        return
    if full and quick:
        raise Problem("--full and --quick exclude each other. Give one of them.", code=USAGE)
    outcome = command.look(
        Session.open(stack),
        "quick" if quick else "full",
        layer or (),
        host or (),
        fixing=fix,
        telling=tell,
        junit=junit,
        prometheus=prometheus,
    )
    typer.echo(formats.as_json(outcome.report) if as_json else formats.text(outcome.report))
    for said in outcome.fixed:
        typer.echo(f"fixed: {said}", err=True)
    for said in outcome.untold:
        typer.echo(f"seawall: {said}", err=True)
    raise typer.Exit(outcome.code)


@drift_app.command("history")
def drift_history(
    context: typer.Context,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(help="Write it as one page to this file.")] = None,
) -> None:
    """When each difference came and went."""
    from seawall.drift import command

    text, document = command.history(Session.open(context.obj), html)
    if as_json:
        _print(document)
    else:
        typer.echo(text)


@drift_app.command("watchdog")
def drift_watchdog(
    context: typer.Context,
    max_age: Annotated[float, typer.Option(min=0.01, help="Hours since the last look that ended.")] = 26,
) -> None:
    """Tell when nobody looks any more. For a timer of its own."""
    from datetime import timedelta

    from seawall.drift import command

    code, said = command.watchdog(Session.open(context.obj), timedelta(hours=max_age))
    typer.echo(said)
    raise typer.Exit(code)


@app.command()
def env(stack: StackName = LAB) -> None:
    """Print the environment for a shell: eval "$(seawall env)". Holds no secret, only where they lie."""
    session = Session.open(stack)
    typer.echo(for_shell(session.stack, session.where, session.lab))


@app.command(context_settings={"ignore_unknown_options": True})
def ssh(
    name: Annotated[str, typer.Argument(help="The droplet, such as app-1.")],
    command: Annotated[
        list[str] | None, typer.Argument(help="What to run there; nothing opens a shell.")
    ] = None,
    stack: StackName = LAB,
) -> None:
    """Log in to a droplet as its administrator."""
    from seawall.hosts import hosts, login, named

    session = Session.open(stack)
    login(named(hosts(session.standing()), name), session.where, command or [])


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, what will be used and why, and what is missing. Changes nothing."""
    from seawall import doctor as examination

    checks = examination.examine()
    if as_json:
        _print(examination.document(checks))
    else:
        typer.echo(examination.text(checks))
    raise typer.Exit(UNABLE if any(check.fine is False for check in checks) else 0)


@app.command()
def down(
    stack: StackName = LAB,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask (the lab never asks).")] = False,
) -> None:
    """Destroy the stack's resources; of the lab nothing is left, and that is proven."""
    from seawall.job import take_down

    session = Session.open(stack)
    if not session.stack.is_lab and not yes:
        typer.confirm(f"Destroy every resource of stack {stack} in your DigitalOcean account?", abort=True)
    with only_one(session.where, "down"):
        take_down(session)


def main() -> None:
    """Entry point: a ``Problem`` becomes one paragraph and its exit code, a wrong call 64."""
    raise SystemExit(guarded(lambda: app(standalone_mode=False)))


def guarded(run: Callable[[], Any]) -> int:
    """Run a command; errors a person can act on are told without a traceback."""
    try:
        code = run()
    except Problem as problem:
        typer.echo(f"seawall: {problem}", err=True)
        return problem.code
    except (BackendError, BuildError) as problem:  # the lab's own, which say what to do as well
        typer.echo(f"seawall: {problem}", err=True)
        return UNABLE
    except typer.Exit as ended:
        return ended.exit_code
    except typer.Abort:
        typer.echo("seawall: stopped; nothing more was changed.", err=True)
        return UNABLE
    except TyperException as wrong:
        typer.echo(f"seawall: {wrong.format_message()} `seawall --help` lists what there is.", err=True)
        return USAGE
    except KeyboardInterrupt:
        typer.echo("seawall: interrupted. Run the same command again to pick up what is left.", err=True)
        return UNABLE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code if isinstance(code, int) else 0
