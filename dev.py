#!/usr/bin/env python3
"""Try, test or serve ApoAvatar from a bare checkout: whatever the machine lacks is set up first.

    python dev.py demo     a portrait and a voice become an MP4, through a real ComfyUI
    python dev.py test     the test suite; arguments go to pytest
    python dev.py serve    ComfyUI with this pack, in the browser
    python dev.py bench    what the adapters and the pose model cost on this machine
    python dev.py mutants  how many broken lines the tests notice

Set-up stays inside the checkout (`.venv`, `.comfyui`). COMFYUI_PATH names a ComfyUI to use instead of a downloaded one.
"""
import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent

# Set only on the second run of this file, by the first: it tells the time at which the command was given, and that the
# set-up is over and the interpreter is the environment's.
STARTED_VARIABLE = "APOAVATAR_DEV_STARTED"

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)


def refuse_unsupported_python():
    if not OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON:
        sys.exit(
            "dev.py needs Python {}.{} to {}.{}, and this is Python {}.{}.".format(
                *OLDEST_PYTHON, *NEWEST_PYTHON, *sys.version_info[:2]
            )
        )


def parse(argv):
    """The command line as a namespace; for `test`, what pytest shall get is in `.pytest_arguments`."""
    from devtools import bench, demo, mutants, serve

    parser = argparse.ArgumentParser(
        prog="dev.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo.add_arguments(commands.add_parser("demo", help="make a video of a portrait that speaks"))
    commands.add_parser("test", help="run the tests; arguments go to pytest", add_help=False)
    serve.add_arguments(commands.add_parser("serve", help="open ComfyUI with this pack"))
    bench.add_arguments(commands.add_parser("bench", help="measure what the pack costs on this machine"))
    mutants.add_arguments(commands.add_parser("mutants", help="break lines and see whether the tests notice"))

    arguments, unknown = parser.parse_known_args(argv)
    if arguments.command == "test":
        arguments.pytest_arguments = unknown
    elif unknown:
        parser.error("unrecognized arguments: " + " ".join(unknown))
    elif arguments.command == "demo":
        demo.refuse_missing_files(parser, arguments)
    elif arguments.command == "bench":
        bench.refuse_folders(parser, arguments)
    return arguments


def set_up_and_hand_over(arguments, argv):
    """Sets up what is missing, then runs the command with the environment's own interpreter."""
    from devtools import environment

    started = time.time()
    layout = environment.Layout(ROOT)
    environment.set_up(layout, for_tests=wants_test_packages(arguments))
    variables = environment.clean_variables()
    if arguments.command == "test":
        os.chdir(ROOT)
        # A file's tests share servers and models, so they stay together. Three at once on two cores: many wait for a server or a page.
        side_by_side = ["-n", "3", "--dist", "loadfile"]
        # They start a hundred processes, and each would compile the pack for itself.
        variables.pop("PYTHONDONTWRITEBYTECODE", None)
        hand_over([str(layout.python), "-m", "pytest", *side_by_side, *arguments.pytest_arguments], variables)
    variables[STARTED_VARIABLE] = repr(started)
    hand_over([str(layout.python), str(ROOT / "dev.py"), *argv], variables)


def wants_test_packages(arguments):
    """Playwright is among them, which `bench page` opens ComfyUI's page with."""
    return arguments.command in ("test", "mutants") or getattr(arguments, "benchmark", None) == "page"


def hand_over(command, variables):
    """Goes on as another program; the caller sees that program's exit status."""
    sys.stdout.flush()
    if os.name != "nt":
        os.execve(command[0], command, variables)
    # Windows has no exec that a console waits for, and gives Ctrl-C to both processes: the child decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(subprocess.run(command, env=variables).returncode)


def run(arguments, started):
    from devtools import bench, demo, environment, mutants, serve

    layout = environment.Layout(ROOT)
    if arguments.command == "demo":
        demo.run(layout, arguments, started)
    elif arguments.command == "bench":
        bench.run(layout, arguments)
    elif arguments.command == "mutants":
        mutants.run(layout, arguments)
    else:
        serve.run(layout, arguments)


def exit_on_signals():
    """Makes being told to end, or losing the terminal, unwind like Ctrl-C does, so that what was started is stopped."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda received, _: sys.exit(128 + received))


def main(argv):
    refuse_unsupported_python()
    from devtools.errors import DevError

    exit_on_signals()
    try:
        arguments = parse(argv)
        # Popped, so that nothing started from here can mistake itself for the second run.
        started = os.environ.pop(STARTED_VARIABLE, None)
        if started is None:
            set_up_and_hand_over(arguments, argv)
        else:
            run(arguments, float(started))
    except DevError as error:
        sys.exit(f"\ndev.py: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main(sys.argv[1:])
