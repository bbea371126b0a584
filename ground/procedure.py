"""Runs an operator's script, a Python file with main(station, arguments), with live view and report around it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ground.errors import GroundError, UsageError
from ground.recorder import Recorder
from ground.station import Station

SHIPPED = Path(__file__).parent / "scripts"
Main = Callable[[Station, list[str]], object]


def run(
    script: str,
    arguments: Sequence[str],
    connect: Callable[[], Station],
    *,
    report: str | None = None,
    watch: bool = False,
) -> int:
    """Runs a script over the station that connect() opens; returns its exit code.

    The script's main returns None or 0 for success, or another exit code. A report is written also when it fails.
    Raises UsageError (no such script, no main, report not writable: nothing was connected), and what the script raises.
    """
    path = find(script)
    main = _load(path)
    if report is not None:
        from ground.report import check_writable

        check_writable(report)
    with connect() as station:
        recorder = Recorder.of(station)
        try:
            with _watched(station) if watch else contextlib.nullcontext():
                code = _call(path, main, station, list(arguments))
        finally:
            if report is not None:
                from ground.report import write_report

                write_report(report, recorder)
                print(f"report: {report}")
    return code


def find(script: str) -> Path:
    """The file of a script: a path, or the name of one that ships. Raises UsageError."""
    shipped = sorted(p.stem for p in SHIPPED.glob("*.py") if p.stem != "__init__")
    if script in shipped:
        return SHIPPED / f"{script}.py"
    path = Path(script)
    if not path.is_file():
        raise UsageError(f"no script {script!r}: expected a Python file, or one that ships: {', '.join(shipped)}")
    return path


def _load(path: Path) -> Main:
    spec = importlib.util.spec_from_file_location(f"ground_script_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"script {path}: expected a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UsageError(f"script {path}, line {error.lineno}: {error.msg}") from None
    except Exception as error:
        raise UsageError(f"script {path}: {type(error).__name__}: {error}") from error
    main: Any = getattr(module, "main", None)
    if not callable(main):
        raise UsageError(f"script {path}: expected a function main(station, arguments)")
    return main  # type: ignore[no-any-return]


def _call(path: Path, main: Main, station: Station, arguments: list[str]) -> int:
    try:
        result = main(station, arguments)
    except GroundError:
        raise
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = frames[-1].lineno if frames else 0
        raise GroundError(f"script {path}, line {line}: {type(error).__name__}: {error}") from error
    return result if isinstance(result, int) else 0


@contextlib.contextmanager
def _watched(station: Station) -> Iterator[None]:
    """The live view around a script; what the script prints is its note, and is printed again when the view is gone."""
    from rich.console import Console

    from ground.view import LiveView, draw_once

    console = Console(file=sys.stdout)
    if not console.is_terminal:
        with LiveView(station, console):
            yield
        return
    printed = _Notes()
    try:
        with LiveView(station, console) as live:
            printed.told.append(live.view.take_note)
            with contextlib.redirect_stdout(printed):
                yield
    finally:
        draw_once(station, console, *console.size, last=True)
        print(printed.getvalue(), end="")


class _Notes(io.StringIO):
    """What a script prints, told line by line."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Callable[[str], None]] = []

    def write(self, text: str) -> int:
        if text.strip():
            for tell in self.told:
                tell(text.strip().splitlines()[-1])
        return super().write(text)
