"""The program for PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from normwise.compare.snippets.pytorch_initialization import initialization_lines
from normwise.compare.snippets.pytorch_layers import layer_text, residual_class, residual_text
from normwise.compare.snippets.pytorch_training import training_lines
from normwise.compare.snippets.recipe import Recipe
from normwise.compare.snippets.text import sequence
from normwise.results import Snippet


def pytorch(recipe: Recipe) -> Snippet:
    """The variant in PyTorch; normwise is imported only for what torch does not have."""
    stages, kind = recipe.stages, recipe.variant.kind
    model = []
    if any(stage.shortcut is not None for stage in stages):
        model += ["", *residual_class(stages, kind), "", ""]
    blocks = []
    for stage in stages:
        ahead = [layer_text(module, kind) for module in stage.ahead]
        if stage.shortcut is None:
            blocks.append([*ahead, *(layer_text(module, kind) for module in stage.modules)])
        else:
            blocks.append([*ahead, residual_text(stage, stages)])
    model += ["model = nn.Sequential(", *sequence(blocks), ")"]
    training = training_lines(recipe)
    ours = bool(kind.weights) or any("nw." in line for line in (*model, *training))
    start = initialization_lines(recipe, ours=ours)
    return Snippet("PyTorch", program(recipe, model, start, training))


def program(
    recipe: Recipe, model: list[str], start: list[str], training: list[str], *, imports: Sequence[str] = ()
) -> str:
    """Imports, data, model, initialization and training, put together; `imports` are those of the user's own."""
    data = data_lines(recipe)
    code = "\n".join([*model, *start, *training])
    heads = [
        [
            "import torch",
            "from torch import nn",
            "from torch.utils.data import DataLoader, TensorDataset",
        ],
        ["import normwise as nw"] * ("nw." in code) + ["from normwise import augment"] * ("augment." in code),
        list(imports),
    ]
    head = "\n\n".join("\n".join(lines) for lines in heads if lines)
    body = [*model, "", *data] if model else data  # the model first: it is what the reader looks for
    return "\n".join([head, "", *body, *start, *training]) + "\n"


def data_lines(recipe: Recipe) -> list[str]:
    """Made-up data of the right shapes, and a comment that says what goes there."""
    shape = ", ".join(str(extent) for extent in recipe.in_shape)
    rows = recipe.rows
    if recipe.regression:
        target = f"torch.randn({rows})"
    else:
        target = f"torch.randint({recipe.out_features}, ({rows},))"
        if recipe.single_logit:
            target += ".float()"
    return [f"# {recipe.data_comment()}", f"X, y = torch.randn({rows}, {shape}), {target}"]
