"""Runs benchmarks and publishes their numbers: python -m benchmarks [NAME ...] [--quick] [--out FOLDER]."""

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path

import benchmarks
from benchmarks import report


def names() -> list[str]:
    """The benchmarks there are."""
    found = sorted(info.name for info in pkgutil.iter_modules(benchmarks.__path__))
    return [name for name in found if not name.startswith("_") and name != "report"]


def run(name: str, quick: bool, out: Path) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    what = (module.__doc__ or name).strip().splitlines()[0].rstrip(".")
    print(f"{what} ...", flush=True)
    rows = module.measure(quick)
    for row in rows:
        print(f"  {row.name:<60} {report.number(row.value):>12} {row.unit}  {row.note}", flush=True)
    report.write(out, name, what, rows)


def publish(out: Path) -> None:
    """Writes the pages that show what is in `out`."""
    results = report.load(out)
    (out / "README.md").write_text(report.page(results), encoding="utf-8")
    readme = report.ROOT / "README.md"
    text = report.replace_block(readme.read_text(encoding="utf-8"), report.headline(results))
    readme.write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=benchmarks.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all of them when none is named")
    parser.add_argument("--quick", action="store_true", help="the shortest run; publishes nothing without --out")
    parser.add_argument("--out", type=Path, help="another folder for the results; the README is then left alone")
    args = parser.parse_args()
    known = names()
    unknown = sorted(set(args.names) - set(known))
    if unknown:
        print(f"benchmarks: no benchmark {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    if args.quick and not args.out:
        print("benchmarks: --quick needs --out: its numbers are not for publishing", file=sys.stderr)
        return 2
    for name in args.names or known:
        try:
            run(name, args.quick, args.out or report.RESULTS)
        except report.NeededError as error:
            print(f"benchmarks: {name}: {error}", file=sys.stderr)
            return 1
    if not args.out:
        publish(report.RESULTS)
    return 0


if __name__ == "__main__":
    sys.exit(main())
