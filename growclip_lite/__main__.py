"""The command line: `growclip` and `python -m growclip_lite`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from growclip_lite.arguments import Parser, at_least_one, power
from growclip_lite.errors import InputError

PROFILES = "smoke (seconds, for tests), study and online (for many seeds), laptop (minutes on two cores), gpu (one GPU)"
SOURCES = "scenes, emoji, a folder with captions.csv, or tar shards such as 'shards/{000..009}.tar'"


def run_grow(args: argparse.Namespace) -> None:
    from growclip_lite import grow, load_stream
    from growclip_lite.card import write_card
    from growclip_lite.files import write_atomically
    from growclip_lite.plots import plot_growth
    from growclip_lite.report import check_folder

    out = Path(args.out)
    check_folder(out, args.resume)  # before the data are read, which may take a while
    stream = load_stream(args.data, args.profile, args.seed)
    report = grow(stream, profile_of(args), out, seed=args.seed, resume=args.resume)
    write_atomically(out / "growth.png", lambda partial: plot_growth(report, partial))
    for entry in report["steps"]:
        write_card(out / f"step_{entry['step']}", report)
    if report["skipped"]:
        print(f"{len(report['skipped'])} pictures could not be used; report.json names them.")
    print(f"Wrote {out / 'report.json'}, {out / 'growth.png'} and a checkpoint per growth step.")


def profile_of(args: argparse.Namespace):
    """The named profile, with as many iterations as asked for, shared out as asked for."""
    from growclip_lite.profiles import get_profile

    profile = get_profile(args.profile)
    share_power = profile.share_power if args.share_power is None else args.share_power
    return replace(profile, iterations=args.iterations or profile.iterations, share_power=share_power)


def run_evaluate(args: argparse.Namespace) -> None:
    from growclip_lite import GrowCLIP, evaluate

    model = GrowCLIP.from_pretrained(args.checkpoint)
    stream = tests_for(model, args)
    scores = evaluate(model, stream)
    if args.json:
        print(json.dumps(scores))
        return
    for task in stream.tasks:
        print(f"{task.name:<14} {scores['zero_shot'][task.name]:.3f}  (chance {task.chance:.3f})")
    if scores["zero_shot_mean"] is not None:
        print(f"{'mean':<14} {scores['zero_shot_mean']:.3f}")
    for name, value in scores["retrieval"].items():
        print(f"{name:<14} {value:.3f}  (of {len(stream.retrieval):,})")


def tests_for(model, args: argparse.Namespace):
    """The test data for a checkpoint. Where nothing else is asked for, with the profile of the run that it comes from,
    and with its seed, if that was on these data: with another one, pictures that it was trained on may be drawn."""
    from growclip_lite.data.load import DRAWN, load_tests
    from growclip_lite.report import data_digest

    about = model.about
    own_seed = about.get("seed", 0) if about.get("data") == Path(args.data).resolve().name else 0
    profile = args.profile or str(about.get("profile", "laptop"))
    stream = load_tests(args.data, profile, own_seed if args.seed is None else args.seed)
    if model.config.image_size != stream.image_size:
        raise InputError(
            f"The checkpoint takes {model.config.image_size}-pixel pictures, but the profile makes "
            f"{stream.image_size}-pixel ones; give the profile that it was trained with."
        )
    own = stream.name not in DRAWN and stream.name == about.get("data")
    if own and about.get("data_digest") not in (None, data_digest(stream)):
        print(
            f"growclip: {args.data} is not as the checkpoint was trained on it (it has changed, or another seed, "
            "profile or font splits it otherwise): unless a column split names them, some test pictures may have been "
            "trained on.",
            file=sys.stderr,
        )
    return stream


def run_classify(args: argparse.Namespace) -> None:
    import torch

    from growclip_lite import GrowCLIP
    from growclip_lite.data.pictures import read_picture
    from growclip_lite.evaluate import embed_labels, probabilities, split_labels

    labels = split_labels(args.labels)
    if len(labels) < 2:
        raise InputError(f"--labels {args.labels!r} names fewer than two different labels; separate them by commas.")
    model = GrowCLIP.from_pretrained(args.checkpoint)
    classes = embed_labels(model, labels)
    for name in args.images:
        try:
            pixels = read_picture(name, model.config.image_size)
        except ValueError as error:
            raise InputError(f"{name} cannot be read as a picture: {error}.") from error
        found = probabilities(model, pixels[None], classes)[0]
        best = torch.argsort(found, descending=True)
        print(f"{name}: " + ", ".join(f"{labels[i]} {found[i]:.0%}" for i in best[: args.top]))


def run_find(args: argparse.Namespace) -> None:
    from PIL import Image

    from growclip_lite import GrowCLIP
    from growclip_lite.evaluate import embed_images, embed_texts
    from growclip_lite.files import write_atomically

    model = GrowCLIP.from_pretrained(args.checkpoint)
    stream = tests_for(model, args)
    pairs = stream.retrieval
    similarity = (embed_images(model, pairs.images) @ embed_texts(model, [args.text]).T)[:, 0]
    best = similarity.argsort(descending=True)[: args.top].tolist()
    for rank, index in enumerate(best, 1):
        print(f"{rank:>2}. {similarity[index]:.3f}  {pairs.captions[index]}")
    if args.save:
        sheet = Image.fromarray(pairs.images[best].transpose(2, 0, 3, 1).reshape(stream.image_size, -1, 3))
        sheet = sheet.resize((sheet.width * 4, sheet.height * 4), Image.Resampling.NEAREST)
        try:
            write_atomically(Path(args.save), sheet.save)
        except ValueError as error:
            raise InputError(f"--save {args.save} is no name of a picture ({error}); let it end in .png.") from error
        print(f"Wrote {args.save}.")


def run_push(args: argparse.Namespace) -> None:
    from growclip_lite.hub import push, push_history

    folder = Path(args.checkpoint)
    upload = push_history if (folder / "report.json").exists() else push
    print(f"Pushed to {upload(folder, args.repo_id, private=args.private or None)}.")


def run_pull(args: argparse.Namespace) -> None:
    from growclip_lite.hub import pull

    pull(args.repo_id, Path(args.folder), args.revision)
    print(f"Wrote {args.folder}.")


def run_export(args: argparse.Namespace) -> None:
    from growclip_lite import GrowCLIP
    from growclip_lite.export import export_onnx

    for path in export_onnx(GrowCLIP.from_pretrained(args.checkpoint), Path(args.folder)):
        print(f"Wrote {path} ({path.stat().st_size / 1e6:.2f} MB).")


def run_study(args: argparse.Namespace) -> None:
    from growclip_lite.studies import run
    from growclip_lite.studies.jobs import Grid, default_workers

    options = {
        "--iterations": args.iterations, "--share-power": args.share_power is not None, "--short": args.short,
        "--data": args.data != "scenes",
    }  # fmt: skip
    run.check_study(args.name, [option for option, given in options.items() if given])
    grid = Grid(args.data, profile_of(args), args.seeds, args.short)
    print(f"Wrote {run.run_study(args.name, grid, Path(args.results), args.workers or default_workers())}.")


def run_claims(args: argparse.Namespace) -> None:
    from growclip_lite.studies import claim_tables

    folder = Path(args.results)
    if not any(folder.glob("*.csv")):
        raise InputError(f"There is no table in {folder}; run a study first, or give the folder of its results.")
    for title, table in claim_tables.TABLES.items():
        print(f"## {title}\n\n{table(folder)}\n")


def run_reproduce(args: argparse.Namespace) -> None:
    from growclip_lite.studies.claim_tables import full_table
    from growclip_lite.studies.jobs import default_workers
    from growclip_lite.studies.run import describe_plan, reproduce
    from growclip_lite.table import RESULTS

    folder, workers = Path(args.results), args.workers or default_workers()
    print(describe_plan(RESULTS, folder, workers), flush=True)
    if not args.plan:
        reproduce(folder, workers)
        print(full_table(folder))


def run_bench(args: argparse.Namespace) -> None:
    from growclip_lite.bench import run
    from growclip_lite.profiles import get_profile

    extent = run.SMOKE if args.profile == "smoke" else run.FULL
    print(run.run_bench(args.parts, get_profile(args.profile), extent, Path(args.results)))


def parser() -> argparse.ArgumentParser:
    main_parser = Parser(prog="growclip", description="Grow a CLIP on data that grow, and use it.")
    commands = main_parser.add_subparsers(dest="command", required=True)

    def add(name: str, run, summary: str, *positional: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run=run)
        for argument in positional:
            command.add_argument(argument)
        return command

    def add_data(command: argparse.ArgumentParser, profile: str | None) -> None:
        command.add_argument("--data", default="scenes", help=SOURCES)
        own = "" if profile else "; default: the checkpoint's own"
        command.add_argument("--profile", default=profile, help=PROFILES + own)

    def add_tests(command: argparse.ArgumentParser) -> None:
        add_data(command, None)
        command.add_argument("--seed", type=int, help="splits pictures; default: the checkpoint's, if of these data")

    def add_iterations(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--iterations",
            type=at_least_one,
            help="training batches in all growth steps together, instead of the profile's",
        )
        command.add_argument(
            "--share-power",
            type=power,
            help="share them out among the growth steps by this power of |D_t|: 0 equally, 1 as the pairs",
        )

    def add_results(command: argparse.ArgumentParser, default: str) -> None:
        command.add_argument("--results", default=default, help="folder of the tables; rows that are there are kept")
        command.add_argument(
            "--workers", type=at_least_one, help="jobs side by side, each on one thread (default: one per core)"
        )

    command = add("grow", run_grow, "Grow a model over the growth steps of a stream.")
    add_data(command, "laptop")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", required=True, help="folder for the report, the figure and the checkpoints")
    add_iterations(command)
    command.add_argument(
        "--resume", action="store_true", help="go on with an interrupted run in --out, if there is one"
    )

    command = add(
        "evaluate", run_evaluate, "Zero-shot accuracy and retrieval of a checkpoint on test data.", "checkpoint"
    )
    add_tests(command)
    command.add_argument("--json", action="store_true", help="print JSON")

    command = add("classify", run_classify, "Classify pictures among labels of your choice.", "checkpoint")
    command.add_argument("images", nargs="+")
    command.add_argument("--labels", required=True, help="comma-separated, e.g. 'a red circle,a blue square'")
    command.add_argument("--top", type=at_least_one, default=3, help="labels to print per picture")

    command = add("find", run_find, "Find the test pictures that fit a text best.", "checkpoint", "text")
    add_tests(command)
    command.add_argument("--top", type=at_least_one, default=5, help="pictures to find")
    command.add_argument("--save", help="also write the pictures, side by side, to this file")

    command = add("push", run_push, "Push a checkpoint, or all growth steps of a run, to the Hugging Face Hub.",
                  "checkpoint", "repo_id")  # fmt: skip
    command.add_argument("--private", action="store_true", help="make the repository a private one, where it is new")

    command = add(
        "pull", run_pull, "Copy a checkpoint from the Hugging Face Hub into a new folder.", "repo_id", "folder"
    )
    command.add_argument("--revision", help="branch, tag or commit, e.g. step-2")

    add("export", run_export, "Write both encoders of a checkpoint as ONNX files.", "checkpoint", "folder")

    command = add("study", run_study, "Run a study over seeds, one row per job; rows that are there are kept.", "name")
    add_data(command, "study")
    command.add_argument("--seeds", type=at_least_one, default=5)
    add_iterations(command)
    command.add_argument(
        "--short", action="store_true", help="growth: without the view at equal iterations; growers: three of them only"
    )
    add_results(command, "results")

    command = add("reproduce", run_reproduce, "Run the studies of the paper's claims anew and print what they say.")
    command.add_argument("--plan", action="store_true", help="only say what would be run, and for how long")
    add_results(command, "runs/reproduce")

    command = add("claims", run_claims, "Print what the tables say about the paper's claims, as Markdown.")
    command.add_argument("--results", default="results", help="folder of the tables")

    command = add("bench", run_bench, "Measure speed, side by side with open_clip and transformers.")
    command.add_argument(
        "parts", nargs="*", help="throughput, tricks, quality, inference, accuracy, search, cost; all if none is given"
    )
    command.add_argument("--profile", default="laptop", help=PROFILES)
    command.add_argument("--results", default="results", help="folder of the tables")
    return main_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, 2 for bad input (one sentence on stderr), 130 when interrupted."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # where the terminal has no such character
    try:
        args = parser().parse_args(arguments)
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads our output has had enough, as `head` has; the exit must not write either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except InputError as error:
        print(f"growclip: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        print(f"growclip: cannot read or write{place}: {error.strerror or error}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hints = {"grow": "; the same command with --resume goes on"}
        hints |= dict.fromkeys(("study", "reproduce", "bench"), "; the same command goes on")
        print(f"growclip: interrupted{hints.get(args.command, '')}.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
