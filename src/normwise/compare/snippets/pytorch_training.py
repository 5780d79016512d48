"""Optimizer, loss and training loop in PyTorch."""

from __future__ import annotations

from normwise.augment import MIXES, build_both
from normwise.compare.snippets.recipe import Recipe
from normwise.compare.snippets.text import call, number

_OPTIMIZERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


def training_lines(recipe: Recipe) -> list[str]:
    """Everything from the optimizer to the trained model in evaluation mode."""
    variant, lr = recipe.variant, number(recipe.lr)
    # What a weight is computed from cannot be soft-thresholded: there L1 joins the loss.
    proximal = bool(variant.l1) and not variant.kind.weights
    lines = ["", f"optimizer = {_optimizer(recipe, lr)}", f"loss_fn = {_loss(recipe)}"]
    if variant.l1:
        lines.append(f"l1 = nw.L1({number(variant.l1)})")
    if variant.l2:
        lines.append(f"l2 = nw.L2({number(variant.l2)})  # λ/2 · Σw²")
    policy, mix = build_both(variant.augment)
    if policy.specs:
        kept = tuple(spec for spec in variant.augment if spec.partition(":")[0] not in MIXES)
        lines.append(f"policy = augment.build({_strings(kept)})")
    if mix is not None:
        lines.append(f'mix = augment.build_mix("{mix.spec}")')
    data = f"TensorDataset(X, y), batch_size={recipe.batch_size}, shuffle=True, drop_last=True"
    batches = (
        "for step, (inputs, targets) in enumerate(loader):"
        if variant.augment
        else "for inputs, targets in loader:"
    )
    lines += [
        f"loader = DataLoader({data})",
        "",
        "model.train()",
        f"for epoch in range(-(-{recipe.steps} // len(loader))):  # {recipe.steps:,} steps, in whole epochs",
        f"    {batches}",
    ]
    seed = "seed=epoch * len(loader) + step"
    if policy.specs:
        lines.append(f"        inputs = policy(inputs, {seed})")
    if mix is not None:
        # Numbers are averaged as they are, and so are the 0 and 1 of a single logit.
        classes = None if recipe.regression or recipe.single_logit else recipe.out_features
        lines.append(f"        inputs, targets = mix(inputs, targets, {classes}, {seed})")
    flat = ".squeeze(1)" if recipe.outputs == 1 else ""
    penalties = " + l2(model)" * bool(variant.l2) + " + l1(model)" * bool(variant.l1 and not proximal)
    lines += [
        f"        loss = loss_fn(model(inputs){flat}, targets){penalties}",
        "        optimizer.zero_grad()",
        "        loss.backward()",
        "        optimizer.step()",
    ]
    if proximal:
        lines.append(f"        l1.proximal_step_(model, lr={lr})  # weights reach exact zeros")
    return [*lines, f"model.eval(){_why_eval(recipe)}"]


def _why_eval(recipe: Recipe) -> str:
    """What evaluation mode changes in this model."""
    switched = ["running statistics"] * recipe.variant.kind.across_samples
    switched += ["no dropout"] * bool(recipe.variant.dropout)
    return f"  # to predict: {', '.join(switched)}" if switched else ""


def _optimizer(recipe: Recipe, lr: str) -> str:
    decay = recipe.variant.weight_decay
    return call(
        f"torch.optim.{_OPTIMIZERS[recipe.optimizer]}",
        f"nw.parameter_groups(model, weight_decay={number(decay)})" if decay else "model.parameters()",
        f"lr={lr}",
        "momentum=0.9" if recipe.optimizer == "sgd" else None,
        "weight_decay=0.0" if recipe.optimizer == "adamw" and not decay else None,  # torch's default is 0.01
    )


def _loss(recipe: Recipe) -> str:
    if recipe.regression:
        return "nn.MSELoss()"
    return "nn.BCEWithLogitsLoss()" if recipe.single_logit else "nn.CrossEntropyLoss()"


def _strings(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
