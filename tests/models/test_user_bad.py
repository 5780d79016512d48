"""Models that cannot be used, each with the one line that says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from normwise.errors import ArgumentError, MissingPackageError, NormwiseError, UnknownNameError
from normwise.models import load_user_model
from normwise.models.user_fill import Facts
from normwise.models.user_try import check_variant, try_model

HEAD = "import torch\nfrom torch import nn\n"
ROWS = torch.randn(12, 20, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
THREE = torch.arange(12) % 3


def message(write: Path, text: str, at: str = "", kind: type[NormwiseError] = ArgumentError) -> str:
    """The one line that loading a file ends in."""
    write.write_text(HEAD + text)
    with pytest.raises(kind) as caught:
        load_user_model(f"{write}:{at}" if at else str(write))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def tried(
    file: Path,
    text: str,
    inputs: torch.Tensor = ROWS,
    targets: torch.Tensor = THREE,
    out: int = 3,
    **more: str,
) -> str:
    """The one line that trying a model on a batch ends in."""
    file.write_text(HEAD + text)
    user = load_user_model(str(file), more)
    with pytest.raises(ArgumentError) as caught:
        try_model(user, inputs, targets, out)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def net(forward: str, parts: str = "self.a = nn.Linear(20, 3)", signature: str = "self, x") -> str:
    return (
        f"class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        {parts}\n"
        f"    def forward({signature}):\n        {forward}\n"
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "net.py"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            "nowhere.py:Net",
            "model: the file must exist. Got no file nowhere.py. hint: relative paths start from",
        ),
        (
            "no_such_module_here:Net",
            "model: the module must exist. Got no module 'no_such_module_here'. hint: a file",
        ),
        ("weights.pth", "Got weights.pth. hint: this holds weights, not the code"),
        ("train.ipynb:Net", "hint: a notebook cannot be imported"),
        ("net.py:Net()", "what follows the colon must be a name. Got 'Net()'. hint: write net.py:Net, and"),
        (
            "no such model",
            "a model must be named by file or module. Got 'no such model'. hint: write file.py:name",
        ),
    ],
)
def test_a_model_that_is_not_there(where: str, said: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        load_user_model(where)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_nearest_file_is_named_and_a_folder_says_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "resnet.py").write_text("")
    with pytest.raises(ArgumentError, match=r"no file .*resent\.py\. hint: did you mean resnet\.py\."):
        load_user_model(f"{tmp_path / 'resent.py'}:build")
    with pytest.raises(
        ArgumentError, match=r"Got the folder .* hint: name a file in it, such as resnet\.py\."
    ):
        load_user_model(str(tmp_path))


MAIN = 'hint: move it under if __name__ == "__main__":.'
IMPORTS = {
    "syntax": ("def f(:\n    pass", "must be Python source. Got invalid syntax in net.py, line 3: def f(:"),
    "exception": ("raise KeyError('width')", "must import without errors. Got KeyError: 'width' (net.py:3)."),
    "shapes": ("nn.Linear(2, 1)(torch.ones(3, 3))", "Got RuntimeError: mat1 and mat2 shapes cannot be"),
    "name": ("from os import no_such", "Got ImportError: cannot import name 'no_such' from 'os'"),
    "file": (
        "open('no.pt')",
        "No such file or directory: 'no.pt' (net.py:3). hint: relative paths start from",
    ),
    "exit": (
        "import sys\nsys.exit(3)",
        "importing it must not end the program. Got a SystemExit with '3'. hint:",
    ),
    "arguments": (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--data', required=True)\np.parse_args()",
        "importing it must not need command-line arguments. Got an argument parser that wants some (the following "
        f"arguments are required: --data). {MAIN}",
    ),
    "keyboard": (
        "name = input('which? ')",
        f"importing it must not wait for the keyboard. Got a call of input(). {MAIN}",
    ),
    "backward": (
        "nn.Linear(2, 1)(torch.ones(1, 2)).sum().backward()",
        f"importing it must not train. Got a call of backward() or of an optimizer's step(). {MAIN}",
    ),
    "step": ("torch.optim.SGD(nn.Linear(2, 1).parameters(), 0.1).step()", "importing it must not train."),
    "swallowed": (
        "try:\n    nn.Linear(2, 1)(torch.ones(1, 2)).sum().backward()\nexcept:\n    pass",
        "importing it must not train.",
    ),
}


@pytest.mark.parametrize("case", IMPORTS)
def test_a_file_that_does_not_import(file: Path, case: str) -> None:
    text, said = IMPORTS[case]
    assert said in message(file, text)


def test_a_package_that_is_missing_is_named_with_the_command(file: Path) -> None:
    said = message(file, "import no_such_package.layers", kind=MissingPackageError)
    assert (
        "Got an import of 'no_such_package', which is not installed. hint: pip install no_such_package."
        in said
    )


def test_a_sibling_with_an_error_is_named(file: Path) -> None:
    (file.parent / "layers.py").write_text("x = 1\ny = x / 0\n")
    assert "ZeroDivisionError: division by zero (layers.py:2)" in message(file, "from layers import x")


TWO = "class Small(nn.Module):\n    pass\nclass Large(nn.Module):\n    pass\ndef make_large():\n    return Large()\n"


def test_an_import_that_leads_back_is_told(file: Path) -> None:
    (file.parent / "parts.py").write_text("from net import WIDTH\n")
    said = message(file, "from parts import x\nWIDTH = 3")
    assert (
        "(parts.py:1). hint: net is being imported just then: one of its own imports leads back to it."
        in said
    )


def test_a_name_where_nothing_builds_a_network(file: Path) -> None:
    said = message(file, "x = 3", "Net")
    assert (
        said
        == "net.py:Net: Net must be defined. Got none, and nothing else that builds a network, in net.py."
    )


def test_which_of_several_is_asked(file: Path) -> None:
    said = message(file, TWO)
    assert said.startswith(
        "net.py: which of its models is meant must be said. Got Small, Large and make_large."
    )
    assert "hint: name one, as in net.py:make_large." in said
    assert "Got neither." in message(file, "x = 3")
    assert "Got the functions helper. hint: name the one" in message(file, "def helper():\n    return 3")
    checks = "def test():\n    print(Large())\n"
    assert "Small, Large and make_large. hint: name one, as in net.py:make_large." in message(
        file, TWO + checks
    )


def test_an_unknown_name_says_the_nearest(file: Path) -> None:
    said = message(file, TWO, "Smal", UnknownNameError)
    assert said.startswith("net.py:Smal: unknown name in net.py 'Smal'. Did you mean 'Small'?")


def test_what_is_no_model_is_told_what_it_is(file: Path) -> None:
    assert "Got a dict. hint: these look like weights" in message(file, "net = {}", "net")
    assert "Got a class that is no torch.nn.Module." in message(file, "class Net:\n    pass", "Net")
    assert "Got a int. hint: name one of Net." in message(file, "class Net(nn.Module):\n    pass\nN = 3", "N")


BUILDS = {
    "parameters": (
        "def build(width, depth):\n    pass",
        "net.py:build: `width` and `depth` of build must have a value. Got none: there is no default, and no size "
        "of the data goes by that name, as in_features, in_channels, in_shape and out_features do. hint: --model-args "
        "width=VALUE for each, or write a function build()",
    ),
    "nothing": (
        "def build():\n    nn.Linear(20, 3)",
        "it must return a torch.nn.Module. Got None. hint: is there a return missing.",
    ),
    "a tuple": (
        "def build():\n    return nn.Linear(20, 3), 1",
        "Got a tuple. hint: return the network alone.",
    ),
    "an error": (
        "def build():\n    raise ValueError('no\\n  such width.')",
        "net.py:build: building it must run. Got ValueError: no such width (net.py:4).",
    ),
    "no parameters": ("def build():\n    return nn.Flatten()", "parameters to train. Got one without."),
    "frozen": (
        "def build():\n    return nn.Linear(20, 3).requires_grad_(False)",
        "Got one whose parameters are all frozen.",
    ),
    "scripted": (
        "class Net(nn.Linear):\n    pass\ndef build():\n    return torch.jit.script(nn.Linear(20, 3))",
        "Got one that torch.jit has compiled. hint: return the module as it is before",
    ),
    "exit": ("def build():\n    import sys; sys.exit()", "building it must not end the program."),
    "keyboard": ("def build():\n    return input()", "building it must not wait for the keyboard."),
    "an error of ours": (
        "def build(norm='none'):\n    from normwise.models import norm_layer\n    return norm_layer('bacth', 8)",
        "building it: norm_layer: unknown normalization 'bacth'. Did you mean 'batch'?",
    ),
}


@pytest.mark.parametrize("case", BUILDS)
def test_a_builder_that_builds_nothing_of_use(file: Path, case: str) -> None:
    text, said = BUILDS[case]
    assert said in tried(file, text)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there the model is moved to the CPU")
def test_a_model_for_another_device_says_where_to_build(file: Path) -> None:
    assert "hint: build on the CPU" in tried(file, "def build():\n    return nn.Linear(20, 3).cuda()")


FORWARDS = {
    "two inputs": (
        net("return self.a(x)", signature="self, x, mask"),
        "forward must take one input, a batch. Got forward(x, mask). hint: split one tensor",
    ),
    "no forward": (
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.a = nn.Linear(2, 3)",
        "the model must have a method forward(x). Got a Net without one.",
    ),
    "an error": (
        net("return self.b(x)"),
        "a forward pass of 5 rows of 20 values must run. Got AttributeError: 'Net' object has no attribute 'b' "
        "(net.py:8).",
    ),
    "other rows": (
        net("return self.a(x)", "self.a = nn.Linear(30, 3)"),
        "the first layer must take what a row has. Got a linear layer for 30 inputs and rows with 20 values.",
    ),
    "images wanted": (
        net("return self.a(x)", "self.a = nn.Conv2d(3, 8, 3)"),
        "a convolution needs images. Got a Conv2d first and rows. hint: use a model for tables.",
    ),
    "sequences wanted": (
        net("return self.b(self.a(x)[0][:, -1, :])", "self.a = nn.LSTM(20, 8); self.b = nn.Linear(8, 3)"),
        "a recurrent layer needs sequences (rows, steps, values). Got rows before its LSTM: IndexError: too many",
    ),
    "no first layer": (
        net("return self.a(self.n(x))", "self.n = nn.LayerNorm(9); self.a = nn.Linear(9, 3)"),
        "Got RuntimeError: Given normalized_shape=[9]",
    ),
    "whole numbers wanted": (
        net("return self.b(self.a(x)).mean(1)", "self.a = nn.Embedding(9, 4); self.b = nn.Linear(4, 3)"),
        "the model must take float32 numbers, standardised. Got one that looks up whole numbers",
    ),
    "too many classes": (
        net("return self.a(x)", "self.a = nn.Linear(20, 10)"),
        "the model must return 3 values a row, one for each class. Got an output of shape (5, 10) for 5 rows.",
    ),
    "a list of many": (
        net("y = self.a(x); return [y, 2 * y]"),
        "Got a list of (5, 3), (5, 3). hint: return the scores alone, or call them logits.",
    ),
    "an object": (net("return 'cat'"), "Got a str. hint:"),
    "one for the batch": (
        net("return self.a(x).mean(0, keepdim=True)"),
        "Got an output of shape (1, 3) for 5 rows. hint: the first axis of the output must be the batch's",
    ),
    "a scalar": (net("return self.a(x).sum()"), "Got an output of shape () for 5 rows."),
    "decisions": (
        net("return self.a(x).argmax(1, keepdim=True).repeat(1, 3)"),
        "Got an output of int64. hint: return scores, without argmax or rounding.",
    ),
    "no gradient": (
        net("return self.a(x).detach()"),
        "the output must depend on what is trained. Got one without. hint: is there a no_grad()",
    ),
    "not a number": (
        net("return self.a(x) * (0 * x[:, :1]).log().exp().log() * 0"),
        "the outputs must be finite. Got 100% that are infinite or not a number, in evaluation mode.",
    ),
    "in training alone": (
        net("return self.a(x) if not self.training else self.a(x)[:, :2]"),
        "Got an output of shape (5, 2) for 5 rows.",
    ),
    "an infinite gradient": (
        net("return (0 * self.a(x)).abs().sqrt() + self.a(x)"),
        "the gradients must be finite. Got infinite or undefined ones for a.weight and a.bias.",
    ),
}


@pytest.mark.parametrize("case", FORWARDS)
def test_a_forward_pass_that_cannot_be_trained(file: Path, case: str) -> None:
    text, said = FORWARDS[case]
    assert said in tried(file, text)


def test_images_that_do_not_fit_are_told_by_their_channels(file: Path) -> None:
    said = tried(file, net("return self.a(x)", "self.a = nn.Conv2d(3, 8, 3)"), IMAGES)
    assert (
        "Got a convolution for 3 channels and images of 1 × 8 × 8. hint: take the number as a parameter"
        in said
    )
    said = tried(file, net("return self.a(x)", "self.a = nn.Conv2d(1, 3, 3)"), IMAGES)
    assert (
        "Got an output of shape (5, 3, 6, 6) for 5 rows. hint: the output must have one value a row" in said
    )
    said = tried(file, net("return self.a(x.flatten(1))", "self.a = nn.Linear(784, 3)"), IMAGES)
    assert "a linear layer for 784 inputs and images of 1 × 8 × 8 with 64 values" in said
    parts = "self.a = nn.Conv2d(1, 2, 5); self.b = nn.Linear(800, 3)"
    said = tried(file, net("return self.b(self.a(x).flatten(1))", parts), IMAGES)
    assert "the model must take images of 1 × 8 × 8. Got RuntimeError: mat1 and mat2 shapes cannot be" in said
    assert "hint: if it was written for others, --image-size scales those of a folder." in said


def test_a_builder_that_remembers_is_refused(file: Path) -> None:
    builds = "made = []\ndef build(n_in):\n    made.append(nn.Linear(n_in, 3))\n    return nn.Sequential({})"
    said = tried(file, builds.format("nn.Linear(n_in, len(made)), nn.LazyLinear(3)"))
    assert (
        "it must build the same network each time. Got two networks of different sizes from two calls."
        in said
    )
    growing = builds.format("*made[-1:], *(nn.Linear(3, 3) for _ in made[1:])")
    assert "it must build the same network each time." in tried(file, growing)


def test_what_a_builder_was_given_is_said_where_it_fails(file: Path) -> None:
    said = tried(file, "def build(input_size, width=8):\n    return nn.Linear(input_size[0], width)")
    assert (
        "Got TypeError: 'int' object is not subscriptable (net.py:4). hint: it was given input_size=20."
        in said
    )


def test_a_norm_that_changes_nothing_is_refused(file: Path) -> None:
    file.write_text(HEAD + "def build(norm, out_features):\n    return nn.Linear(20, out_features)")
    user = load_user_model(str(file))
    assert user.varies == {"norm"}
    with pytest.raises(
        ArgumentError, match=r"'batch' builds the same one as 'none'\. Got equal outputs\. hint: use it"
    ):
        try_model(user, ROWS, THREE, 3, norm="batch")


def test_a_dropout_rate_that_changes_nothing_is_refused(file: Path) -> None:
    layers = "nn.Sequential(nn.Linear(20, 8), nn.Dropout({rate}), nn.Linear(8, out_features))"
    build = HEAD + "def build(p=0.5, out_features=3):\n    return " + layers
    file.write_text(build.format(rate="0.1"))
    must = r"the dropout rate that it takes must change the network: 0\.{} builds the same one as none given"
    with pytest.raises(ArgumentError, match=must.format(2) + r"\. Got equal outputs\. hint: use it"):
        try_model(load_user_model(str(file)), ROWS, THREE, 3, dropout=0.2)
    file.write_text(build.format(rate="p"))
    with pytest.raises(ArgumentError, match=must.format(5) + ".*hint: p is 0.5 by default: ask for another"):
        try_model(load_user_model(str(file)), ROWS, THREE, 3, dropout=0.5)
    assert try_model(load_user_model(str(file)), ROWS, THREE, 3, dropout=0.2).weighted_layers == 2


def test_a_norm_need_not_know_none(file: Path) -> None:
    norms = '{"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[norm](8)'
    layers = f"nn.Sequential(nn.Linear(20, 8), {norms}, nn.Linear(8, 3))"
    file.write_text(HEAD + f"def build(norm):\n    return {layers}")
    user = load_user_model(str(file))
    facts = Facts((20,), 3, "batch")
    check_variant(user, ROWS, facts)


ARGUMENTS = {
    ("width", "wide"): (ArgumentError, "`width` must be a whole number. Got width=wide."),
    ("rate", "much"): (ArgumentError, "`rate` must be a number. Got rate=much."),
    ("flag", "maybe"): (ArgumentError, "`flag` must be true or false. Got flag=maybe."),
    ("widht", "8"): (UnknownNameError, "unknown argument 'widht'. Did you mean 'width'?"),
    ("sizes", "8,x"): (ArgumentError, "`sizes` must be a whole number. Got sizes=8,x."),
}


@pytest.mark.parametrize("given", ARGUMENTS)
def test_an_argument_that_cannot_be_read(file: Path, given: tuple[str, str]) -> None:
    file.write_text(
        HEAD
        + "def build(width=8, rate: float = 0.1, flag: bool = True, sizes=(8, 8)):\n    return nn.Linear(20, 3)"
    )
    kind, said = ARGUMENTS[given]
    with pytest.raises(kind) as caught:
        load_user_model(str(file), dict([given]))
    assert said in str(caught.value)


def test_a_module_of_the_file_takes_no_arguments(file: Path) -> None:
    file.write_text(HEAD + "net = nn.Linear(20, 3)")
    with pytest.raises(ArgumentError, match=r"net\.py:net: it takes no arguments\. Got width\."):
        load_user_model(str(file), {"width": "8"})
