"""Models as people write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from normwise.errors import ArgumentError
from normwise.models import load_user_model
from normwise.models.user_try import try_model

Write = Callable[..., str]
IMAGES = torch.randn(12, 3, 8, 8, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(12, 20, generator=torch.Generator().manual_seed(0))
TEN = torch.arange(12) % 10
TWO = torch.arange(12) % 2
NUMBERS = torch.linspace(-1, 1, 12)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "net.py", at: str = "") -> str:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("import torch\nfrom torch import nn\nimport torch.nn.functional as F\n" + text)
        return f"{file}:{at}" if at else str(file)

    return write


RESNET = """
class BasicBlock(nn.Module):
    expansion = 1
    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(in_planes, planes, 1, stride, bias=False),
                                          nn.BatchNorm2d(planes))
    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)

class ResNet(nn.Module):
    def __init__(self, block, num_blocks, num_classes=10):
        super().__init__()
        self.in_planes = 4
        self.conv1 = nn.Conv2d(3, 4, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(4)
        layers = []
        for planes, count, stride in zip((4, 8), num_blocks, (1, 2)):
            for s in [stride] + [1] * (count - 1):
                layers.append(block(self.in_planes, planes, s))
                self.in_planes = planes
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(8, num_classes)
    def forward(self, x):
        out = self.layers(F.relu(self.bn1(self.conv1(x))))
        out = F.avg_pool2d(out, 4)
        return self.linear(out.view(out.size(0), -1))

def ResNet6():
    return ResNet(BasicBlock, [1, 1])

def test():
    print(ResNet6()(torch.randn(1, 3, 8, 8)).size())
"""


def test_a_function_without_parameters_is_called_as_it_is(write: Write) -> None:
    user = load_user_model(write(RESNET, "resnet.py", "ResNet6"))
    tried = try_model(user, IMAGES, TEN, 10)
    assert user.title == "resnet.py:ResNet6"
    assert user.varies == frozenset()
    assert tried.weighted_layers == 7
    assert tried.parameters == sum(p.numel() for p in user.build((3, 8, 8), 10).parameters())
    assert "takes no normalization" in " ".join(tried.notes)


def test_a_class_gets_its_block_from_the_same_file_and_its_classes_from_the_data(write: Write) -> None:
    user = load_user_model(write(RESNET, "resnet.py", "ResNet"), {"block": "BasicBlock", "num_blocks": "1,1"})
    assert try_model(user, IMAGES, TEN % 7, 7).weighted_layers == 7
    assert user.build((3, 8, 8), 7)(IMAGES).shape == (12, 7)
    assert any("num_classes=7" in note for note in user.notes((3, 8, 8), 7))


TORCHVISION = """
from typing import Any, Callable, List, Optional
class ResNet(nn.Module):
    def __init__(self, layers: List[int], num_classes: int = 1000, zero_init_residual: bool = False,
                 norm_layer: Optional[Callable[..., nn.Module]] = None) -> None:
        super().__init__()
        if norm_layer is None:
            norm_layer = nn.BatchNorm2d
        self.conv1 = nn.Conv2d(3, 8, 3, bias=False)
        self.bn1 = norm_layer(8)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.avgpool(self.relu(self.bn1(self.conv1(x)))), 1))

def _resnet(layers: List[int], weights: Any, progress: bool, **kwargs: Any) -> ResNet:
    model = ResNet(layers, **kwargs)
    if weights is not None:
        model.load_state_dict(weights)
    return model

def resnet18(*, weights: Optional[Any] = None, progress: bool = True, **kwargs: Any) -> ResNet:
    return _resnet([2, 2], weights, progress, **kwargs)
"""


def test_parameters_are_found_behind_keyword_arguments_that_are_handed_on(write: Write) -> None:
    user = load_user_model(write(TORCHVISION, at="resnet18"))
    assert user.varies == {"norm"}
    plain, grouped = (user.build((3, 8, 8), 5, norm=norm) for norm in ("none", "group:4"))
    assert not any("Norm" in type(m).__name__ for m in plain.modules())
    assert [m.num_groups for m in grouped.modules() if isinstance(m, nn.GroupNorm)] == [4]
    assert grouped(IMAGES).shape == (12, 5)
    for norm in ("batch", "layer", "instance", "rms", "weight", "ghost:4", "local_response", "orthogonal"):
        try_model(user, IMAGES, TEN % 5, 5, norm=norm)


@pytest.mark.parametrize("norm", ["weight", "spectral", "standardized", "centred", "orthogonal"])
def test_what_lies_in_weights_is_put_on_where_the_model_leaves_it_to_us(write: Write, norm: str) -> None:
    user = load_user_model(write(TORCHVISION, at="resnet18"))
    model = user.build((3, 8, 8), 5, norm=norm)
    weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert [hasattr(m, "parametrizations") for m in weighted] == [True, False]


BUILD = """
from normwise.models import norm_layer
def build(norm="none", activation="relu", in_features=20, out_features=2, width: int = 16, dropout=0.0):
    act = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]
    return nn.Sequential(nn.Linear(in_features, width), norm_layer(norm, width), act(), nn.Dropout(dropout),
                         nn.Linear(width, width), norm_layer(norm, width), act(),
                         nn.Linear(width, out_features))
"""


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group", "group:4", "rms", "weight"])
def test_build_gets_what_it_has_parameters_for(write: Write, norm: str) -> None:
    user = load_user_model(write(BUILD), {"width": "8"})
    assert user.title == "net.py:build"
    assert user.varies == {"norm", "activation", "dropout"}
    tried = try_model(user, ROWS, TWO, 2, norm=norm, activation="tanh", dropout=0.25)
    assert tried.weighted_layers == 3
    model = user.build((20,), 2, norm=norm, activation="tanh", dropout=0.25)
    assert [m.p for m in model.modules() if isinstance(m, nn.Dropout)] == [0.25]
    assert sum(isinstance(m, nn.Tanh) for m in model.modules()) == 2
    assert model(ROWS).shape == (12, 2)


@pytest.mark.parametrize("norm", ["batch", "layer", "weight", "switchable"])
def test_a_seed_draws_equal_weights_whatever_the_normalization(write: Write, norm: str) -> None:
    where = write(
        """
from normwise.models import norm_layer
def build(norm, out_features):
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(20, 8, bias=norm != "batch"), norm_layer(norm, 8), nn.ReLU(),
                        nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, out_features))
    nn.init.trunc_normal_(net[3].weight)
    return net
"""
    )
    user = load_user_model(where)

    def weights(norm: str, seed: int) -> list[torch.Tensor]:
        model = user.build((20,), 2, norm=norm, seed=seed)
        return [m.weight for m in model.modules() if isinstance(m, nn.Linear)]

    for a, b in zip(weights("none", 1), weights(norm, 1), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert not any(torch.equal(a, b) for a, b in zip(weights("none", 1), weights("none", 2), strict=True))


def test_a_lazy_module_that_the_file_makes_is_made_anew(write: Write) -> None:
    user = load_user_model(
        write("net = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.LazyLinear(2))")
    )
    first, again = (user.build((20,), 2) for _ in range(2))
    assert torch.equal(first[0].weight, again[0].weight)  # type: ignore[index]
    assert first[1].running_mean.shape == (8,)  # type: ignore[index, union-attr]


def test_a_module_that_the_file_makes_is_made_anew_for_each_seed(write: Write) -> None:
    user = load_user_model(write("net = nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 2))"))
    first, again, other = (user.build((20,), 2, seed=seed) for seed in (0, 0, 1))
    assert user.title == "net.py:net"
    assert first is not again
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)
    assert try_model(user, ROWS, TWO, 2).parameters == 20 * 8 + 8 + 8 * 2 + 2


def test_weights_that_no_seed_changes_are_told(write: Write) -> None:
    user = load_user_model(
        write(
            "def build():\n"
            "    net = nn.Linear(20, 2)\n"
            "    nn.init.constant_(net.weight, 0.1); nn.init.zeros_(net.bias)\n"
            "    return net"
        )
    )
    assert any("the same with every seed" in note for note in user.notes((20,), 2))


def test_siblings_are_imported_and_each_model_keeps_its_own(write: Write) -> None:
    for folder, width in (("a", 3), ("b", 4)):
        write(f"WIDTH = {width}\ndef late():\n    import later\n    return later.K", f"{folder}/utils.py")
        write(f"K = {width}", f"{folder}/later.py")
    text = (
        "from utils import WIDTH\nclass Net(nn.Module):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__()\n        import utils\n"
        "        assert utils.late() == WIDTH\n"
        "        self.a = nn.Linear(20, WIDTH); self.b = nn.Linear(WIDTH, num_classes)\n"
        "    def forward(self, x):\n        return self.b(torch.relu(self.a(x)))\n"
    )
    one = load_user_model(write(text, "a/net.py"))
    two = load_user_model(write(text, "b/net.py"))
    widths = [user.build((20,), 2).a.out_features for user in (one, two, one)]  # type: ignore[union-attr]
    assert widths == [3, 4, 3]
    assert one.fingerprint != two.fingerprint


def test_relative_imports_work_and_so_does_the_root_of_the_repository(write: Write) -> None:
    write("", "repo/setup.py")
    write("def f(x):\n    return x", "repo/tools/misc.py")
    write("", "repo/nets/__init__.py")
    write("K = 5", "repo/nets/layers.py")
    where = write(
        "from .layers import K\nfrom tools.misc import f\n"
        "def make(n_classes):\n    return nn.Sequential(nn.Linear(20, f(K)), nn.Linear(K, n_classes))",
        "repo/nets/small.py",
        "make",
    )
    assert load_user_model(where).build((20,), 3)(ROWS).shape == (12, 3)


def test_a_file_may_be_named_like_a_module_of_python(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = write("def build(n_in, n_out):\n    return nn.Linear(n_in, n_out)", "random.py")
    monkeypatch.chdir(tmp_path)
    for place in (where, "random.py", "random:build"):
        assert load_user_model(place).build((20,), 2)(ROWS).shape == (12, 2)


def test_a_module_is_found_by_its_dotted_name(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("class Net(nn.Linear):\n    pass", "pkg_of_test/nets/mlp.py")
    monkeypatch.chdir(tmp_path)
    user = load_user_model("pkg_of_test.nets.mlp:Net", {"in_features": "20", "out_features": "2"})
    assert user.build((20,), 2)(ROWS).shape == (12, 2)
    installed = load_user_model("torch.nn:Linear")
    assert installed.build((20,), 4)(ROWS).shape == (12, 4)


def test_a_parser_whose_arguments_have_defaults_does_not_hinder(write: Write) -> None:
    where = write(
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--width', type=int, default=6)\nargs = parser.parse_args()\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, classes: int):\n"
        "        super().__init__(nn.Linear(20, args.width), nn.ReLU(), nn.Linear(args.width, classes))\n"
    )
    assert load_user_model(where).build((20,), 3)[0].out_features == 6  # type: ignore[index]


def test_lazy_layers_get_their_shapes_before_they_are_used(write: Write) -> None:
    user = load_user_model(
        write(
            "def build(out_features):\n"
            "    return nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(),\n"
            "                         nn.LazyLinear(out_features))"
        )
    )
    first, again = (user.build((3, 8, 8), 10) for _ in range(2))
    assert first(IMAGES).shape == (12, 10)
    assert torch.equal(first[0].weight, again[0].weight)  # type: ignore[index]
    assert torch.equal(user.build((3, 8, 8), 10)[1].running_mean, torch.zeros(4))  # type: ignore[index]
    try_model(user, IMAGES, TEN, 10)


OUTPUTS = {
    "a dictionary with logits": ("{'loss': y.sum(), 'logits': y, 'again': y * 2}", "logits are taken"),
    "a tuple with features": ("(y, x)", "logits are taken"),
    "two axes too many": ("y[:, :, None, None]", "reshaped"),
    "in double": ("y.double()", "converted to float32"),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs_that_are_not_quite_scores_are_taken_and_told(write: Write, case: str) -> None:
    expression, told = OUTPUTS[case]
    user = load_user_model(
        write(
            "class Net(nn.Linear):\n"
            "    def __init__(self, num_classes):\n        super().__init__(20, num_classes)\n"
            f"    def forward(self, x):\n        y = super().forward(x)\n        return {expression}\n"
        )
    )
    model = user.build((20,), 5)
    assert model(ROWS).shape == (12, 5)
    assert model(ROWS).dtype == torch.float32
    assert any(told in note for note in try_model(user, ROWS, TEN % 5, 5).notes)


def test_logits_may_come_in_a_dataclass_and_only_in_training(write: Write) -> None:
    user = load_user_model(
        write(
            "import dataclasses\n@dataclasses.dataclass\nclass Out:\n    logits: object\n    aux: object\n"
            "class Net(nn.Module):\n"
            "    def __init__(self, num_classes):\n        super().__init__()\n"
            "        self.a = nn.Linear(20, num_classes); self.b = nn.Linear(20, num_classes)\n"
            "    def forward(self, x):\n"
            "        return Out(self.a(x), self.b(x)) if self.training else self.a(x)\n",
            at="Net",
        )
    )
    tried = try_model(user, ROWS, TEN % 5, 5)
    assert any("2 parameters get no gradient: b.weight and b.bias" in note for note in tried.notes)


def test_one_output_for_two_classes_is_a_logit_against_nothing(write: Write) -> None:
    user = load_user_model(write("net = nn.Sequential(nn.Linear(20, 1), nn.Flatten(0))"))
    output = user.build((20,), 2)(ROWS)
    assert output.shape == (12, 2)
    assert torch.equal(output[:, 0], torch.zeros(12))
    assert any("logit of the second" in note for note in user.notes((20,), 2))


def test_a_number_may_come_without_its_axis(write: Write) -> None:
    user = load_user_model(write("net = nn.Sequential(nn.Linear(20, 1), nn.Flatten(0))"))
    assert user.build((20,), 1)(ROWS).shape == (12, 1)
    try_model(user, ROWS, NUMBERS, 1)


def test_images_are_flattened_for_a_model_of_rows(write: Write) -> None:
    for first in ("192", "8"):  # a linear layer for 8 takes the last axis of the image without complaint
        text = f"class Net(nn.Linear):\n    def __init__(self):\n        super().__init__({first}, 10)"
        if first == "192":
            user = load_user_model(write(text))
            assert user.build((3, 8, 8), 10)(IMAGES).shape == (12, 10)
            assert any("flattened" in note for note in user.notes((3, 8, 8), 10))
    user = load_user_model(
        write("def build(input_dim, n_classes):\n    return nn.Linear(input_dim, n_classes)")
    )
    assert user.build((3, 8, 8), 10)(IMAGES).shape == (12, 10)


def test_an_input_that_would_be_changed_in_place_is_copied(write: Write) -> None:
    user = load_user_model(write("net = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(20, 3))"))
    before = ROWS.clone()
    user.build((20,), 3)(ROWS)
    assert torch.equal(ROWS, before)
    assert any("in place" in note for note in try_model(user, ROWS, TEN % 3, 3).notes)


ENDS = {
    "nn.Sequential(nn.Linear(20, 1), nn.Sigmoid())": (
        2,
        "applies its own to what the model returns: gradients are far too small. Remove the sigmoid",
    ),
    "nn.Sequential(nn.Linear(20, 3), nn.Softmax(dim=1))": (3, "Remove the softmax"),
    "nn.Sequential(nn.Linear(20, 3), nn.Sigmoid())": (3, "a softmax of its own"),
    "nn.Sequential(nn.Linear(20, 3), nn.LogSoftmax(dim=1))": (3, "without changing anything"),
    "nn.Sequential(nn.Linear(20, 3), nn.ReLU())": (3, "Warning: it ends in a ReLU"),
    "nn.Sequential(nn.Linear(20, 1), nn.ReLU())": (1, "cannot reach all of it"),
}


@pytest.mark.parametrize("network", ENDS)
def test_an_activation_at_the_end_is_warned_of(write: Write, network: str) -> None:
    out_features, told = ENDS[network]
    notes = load_user_model(write(f"net = {network}")).notes((20,), out_features)
    assert any(told in note for note in notes)
    plain = load_user_model(write("net = nn.Linear(20, 3)", "plain.py")).notes((20,), 3)
    assert not any("ends in" in note for note in plain)


def test_a_softmax_at_the_end_is_warned_of_once(write: Write) -> None:
    user = load_user_model(write("net = nn.Sequential(nn.Linear(20, 3), nn.Softmax(dim=1))"))
    assert sum(note.startswith("Warning") for note in try_model(user, ROWS, TEN % 3, 3).notes) == 1


def test_dropout_in_evaluation_mode_is_warned_of(write: Write) -> None:
    net = (
        "class Net(nn.Linear):\n"
        "    def __init__(self, n_in, n_out):\n        super().__init__(n_in, n_out)\n"
        "    def forward(self, x):\n        return F.dropout(super().forward(x), 0.5{})\n"
    )
    always, properly = (
        write(net.format(more), name) for more, name in (("", "a.py"), (", self.training", "b.py"))
    )
    for where, warned in ((always, True), (properly, False)):
        notes = try_model(load_user_model(where), ROWS, TEN % 3, 3).notes
        assert any("returns other values each time" in note for note in notes) == warned


def test_probabilities_by_hand_are_seen_in_their_values(write: Write) -> None:
    user = load_user_model(
        write(
            "class Net(nn.Linear):\n"
            "    def __init__(self):\n        super().__init__(20, 3)\n"
            "    def forward(self, x):\n        e = super().forward(x).exp()\n"
            "        return e / e.sum(1, keepdim=True)\n"
        )
    )
    assert any("are probabilities" in note for note in try_model(user, ROWS, TEN % 3, 3).notes)


def test_a_model_in_double_is_trained_in_single_precision(write: Write) -> None:
    user = load_user_model(write("net = nn.Linear(20, 3).double()"))
    assert user.build((20,), 3)(ROWS).dtype == torch.float32
    assert any("float64" in note for note in user.notes((20,), 3))
    inside = (
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__(); self.a = nn.Linear(20, 3).double()\n"
        "    def forward(self, x):\n        return self.a(x.double())"
    )
    said = r"forward must take float32.*hint: leave the conversion to float64 out of the model"
    with pytest.raises(ArgumentError, match=said):
        load_user_model(write(inside)).build((20,), 3)


def test_other_layers_that_keep_their_draw_are_named(write: Write) -> None:
    user = load_user_model(
        write(
            "class Net(nn.Module):\n"
            "    def __init__(self, num_classes):\n        super().__init__()\n"
            "        self.rnn = nn.LSTM(5, 8, batch_first=True); self.fc = nn.Linear(8, num_classes)\n"
            "    def forward(self, x):\n"
            "        return self.fc(self.rnn(x.view(len(x), 4, 5))[0][:, -1])\n"
        )
    )
    assert any("LSTM" in note for note in try_model(user, ROWS, TEN % 3, 3).notes)


def test_weights_that_old_hooks_compute_are_told(write: Write) -> None:
    text = "net = nn.Sequential(nn.utils.{}(nn.Linear(20, 8)), nn.ReLU(), nn.Linear(8, 3))"
    for norm, told in (("spectral_norm", True), ("parametrizations.weight_norm", False)):
        notes = load_user_model(write(text.format(norm), f"{norm[:5]}.py")).notes((20,), 3)
        assert any("reaches the weights of 1 layer: weight_norm or" in note for note in notes) == told


def test_the_own_activation_and_dropout_stay_and_are_told(write: Write) -> None:
    text = (
        "def build(out_features, act_layer=nn.GELU, drop_rate=0.3):\n"
        "    return nn.Sequential(nn.Linear(20, 8), act_layer(), nn.Dropout(drop_rate), "
        "nn.Linear(8, out_features))"
    )
    user = load_user_model(write(text))
    own, other = user.build((20,), 3), user.build((20,), 3, activation="tanh", dropout=0.1)
    assert [type(m[1]) for m in (own, other)] == [nn.GELU, nn.Tanh]  # type: ignore[index]
    assert [m[2].p for m in (own, other)] == [0.3, 0.1]  # type: ignore[index, union-attr]
    notes = " ".join(user.notes((20,), 3))
    assert "act_layer keeps its default of GELU" in notes
    assert "drop_rate keeps its default of 0.3" in notes


def test_why_a_builder_is_given_no_normalization(write: Write) -> None:
    text = "def build(n_in, n_out, {}):\n    return nn.Linear(n_in, n_out)"
    for taken, given, said in (
        (
            "width=8",
            {},
            "build takes no normalization (a parameter `norm` or `norm_layer`): what variants have",
        ),
        ("normalization='batchnorm'", {}, "normalization='batchnorm' is no name that variants have"),
        (
            "norm='none'",
            {"norm": "batch"},
            "norm, the normalization, is fixed: what variants have is put into",
        ),
    ):
        notes = load_user_model(write(text.format(taken)), given).notes((20,), 3)
        assert any(note.startswith(said) for note in notes)
