"""Show what a torch object, module or checkpoint is.

A name (torch.nn.Conv2d, nn.Conv2d, json.dumps, net.py:Net) is imported, as Python itself would; a bare
one (Conv2d, relu) is looked for in torch, torchvision and Python. A file of weights is read without running
anything in it; of two files, what differs. An expression is evaluated only with --eval.

    work               what is asked for -> the value that has it
    finding, places    names -> objects; where a bare name is, which one was meant
    cards              one object: signatures, docstrings, plain (text without marks), stubs
    listings           many: members of modules and classes, search, trees
    values, sources    --eval; --source and --full
    opening, contents  a file -> its tensors and what lies beside them
    figures, picture   --stats, tensor by tensor; --png
    outline            many keys in few lines: `layers.{0..31}`
    differing          two files
    show, show_file    what a person sees; layout: in how many lines
"""

from __future__ import annotations

from typing import Any

import click

from ptools.options import FilePath, Whole, examples, force_option, json_option

_EPILOG = examples(
    "ptools inspect torch.nn.Conv2d",
    "ptools inspect torch --grep pool",
    'ptools inspect --eval "torch.rand(2, 3)"',
    "ptools train --epochs 1 --out seen",
    "ptools inspect seen/best.pth --stats",
)


@click.command(epilog=_EPILOG)
@click.argument("target")
@click.argument("other", required=False)
@click.option("--all", "whole", is_flag=True, help="Everything, private names too, in full length.")
@click.option(
    "--grep", metavar="WORDS", help="Only names and summaries with these, the best first."
)
@click.option("--tree", is_flag=True, help="What is below what.")
@click.option(
    "--depth",
    type=Whole(0, 20),
    help="Levels of --tree, --grep, keys.  [default: what fits]",
)
@click.option("--full", is_flag=True, help="The whole help text, in a pager.")
@click.option("--source", is_flag=True, help="The source, with file and line.")
@click.option("--eval", "evaluated", is_flag=True, help="TARGET is an expression: run it.")
@click.option(
    "--stats", is_flag=True, help="Of a file: mean, std, min, max and nan of every tensor."
)
@click.option(
    "--png",
    type=FilePath(dir_okay=False),
    help="Of a file: write the histograms of its tensors.",
)
@click.option("--trust", is_flag=True, help="Let the file run code when it is read.")
@force_option
@json_option
def command(target: str, other: str | None, as_json: bool, **asked: Any) -> None:
    """Show what a torch object, module or checkpoint is.

    TARGET is a name (torch.nn.Conv2d, F.relu, json.dumps, net.py:Net), a bare one (Conv2d), a file of
    weights, or with --eval an expression. With OTHER, both are files: what differs.

    A name is imported, which runs that package, as Python would. A file is read without running anything
    in it.
    """
    from ptools import output
    from ptools_plugins.inspection import work

    given = work.Asked(**asked)
    found = work.look(target, other, given)
    if as_json:
        output.document(found.document())
    else:
        from ptools_plugins.inspection.show import show

        show(found, whole=given.whole, depth=given.depth)
    if given.png:
        output.note(f"Wrote {given.png}")
