import pytest
import torch
from torch import nn

from hpo.modules import CNN


def of(model, kind):
    return [m for m in model.modules() if isinstance(m, kind)]


@pytest.mark.parametrize("pooling", ["max", "avg", "stride"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group", "instance", "rms", "weight"])
def test_rows_and_images_are_the_same(pooling, norm):
    torch.manual_seed(0)
    model = CNN(3, in_channels=2, image_size=9, filters=4, pooling=pooling, norm=norm)
    images = torch.randn(5, 2, 9, 9)
    assert model(images).shape == (5, 3)
    model.eval()
    assert torch.equal(model(images), model(images.flatten(1)))
    model.train()(images).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_groups_and_the_norm_of_the_head():
    model = CNN(2, filters=12, norm="group", groups=6, head_norm="batch")
    assert [m.num_groups for m in of(model, nn.GroupNorm)] == [6, 6]
    assert [type(m) for m in model.head] == [
        nn.Dropout,
        nn.Linear,
        nn.BatchNorm1d,
        nn.ReLU,
        nn.Dropout,
        nn.Linear,
    ]
    assert not of(CNN(2, norm="batch", hidden_units=0, head_norm="batch"), nn.BatchNorm1d)


def test_inputs_are_normalized_by_channel():
    torch.manual_seed(0)
    model, plain = CNN(2, in_channels=3, image_size=8, input_norm=True), CNN(2)
    X = torch.rand(50, 3, 8, 8) * torch.tensor([1.0, 9, 5])[:, None, None] + 3
    normed = model.conv[0](X)
    torch.testing.assert_close(normed.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(normed.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)
    assert not isinstance(plain.conv[0], nn.BatchNorm2d)


def test_each_block_doubles_the_filters_and_halves_the_image():
    model = CNN(10, n_blocks=3, convs_per_block=2, filters=8, kernel_size=5)
    shapes = [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in of(model, nn.Conv2d)]
    assert shapes == [(1, 8, 5), (8, 8, 5), (8, 16, 5), (16, 16, 5), (16, 32, 5), (32, 32, 5)]
    assert model.conv(torch.randn(2, 1, 28, 28)).shape == (2, 32, 3, 3)
    strided = CNN(10, n_blocks=3, convs_per_block=2, filters=8, pooling="stride")
    assert [m.stride[0] for m in of(strided, nn.Conv2d)] == [1, 2] * 3
    assert strided.conv(torch.randn(2, 1, 28, 28)).shape == (2, 32, 4, 4)
    assert [type(m) for m in of(CNN(10, pooling="avg"), nn.AvgPool2d)] == [nn.AvgPool2d] * 2


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "instance", "rms"])
def test_a_norm_makes_maps_of_one_size(norm):
    torch.manual_seed(0)
    model = CNN(2, image_size=8, n_blocks=1, filters=16, norm=norm)
    maps = model.conv[1](model.conv[0](10 * torch.randn(64, 1, 8, 8)))
    over = {"batch": (0, 2, 3), "instance": (2, 3), "rms": (1,), "group": (2, 3, 4)}
    maps = maps.unflatten(1, (8, 2)) if norm == "group" else maps
    size = maps.square().mean(over.get(norm, (1, 2, 3)))
    torch.testing.assert_close(size, torch.ones_like(size), atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("place", "conv", "head"), [("conv", 0.4, 0), ("head", 0, 0.4), ("both", 0.4, 0.4)]
)
def test_dropout_stands_where_it_is_asked_for(place, conv, head):
    model = CNN(2, dropout=0.4, dropout_place=place)
    assert [m.p for m in of(model, nn.Dropout2d)] == [conv] * 2
    assert [m.p for m in of(model, nn.Dropout)] == [head] * 2


def test_a_head_without_a_hidden_layer():
    model = CNN(2, hidden_units=0)
    assert [tuple(m.weight.shape) for m in of(model, nn.Linear)] == [(2, 32 * 7 * 7)]


def test_rows_of_another_length_are_refused():
    with pytest.raises(RuntimeError, match="invalid for input"):
        CNN(2)(torch.randn(3, 2 * 28 * 28))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_blocks": 5}, "halves images of 28 pixels 5 times.*make n_blocks at most 4, or give"),
        (
            {"image_size": 8, "n_blocks": 3, "pooling": "stride", "norm": "instance"},
            "halves images of 8 pixels 3 times.*make n_blocks at most 2",
        ),
        ({"kernel_size": 4}, "The kernel_size of CNN must be odd. Got 4 instead."),
        ({"filters": 0}, "The filters of CNN must be at least 1. Got 0"),
        ({"hidden_units": -1}, "The hidden_units of CNN must be at least 0. Got -1"),
        ({"pooling": "mean"}, "The pooling of CNN must be one of: max, avg, stride. Got 'mean'"),
        ({"dropout_place": "all"}, "The dropout_place of CNN must be one of: conv, head, both"),
        ({"norm": "bn"}, "The norm of CNN must be one of"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        CNN(2, **arguments)


@pytest.mark.parametrize("pooling", ["max", "avg", "stride"])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_the_most_blocks_work(pooling, norm):
    for size in (7, 8, 9):
        most = 2 if (size, pooling, norm) == (8, "stride", "instance") else size.bit_length() - 1
        model = CNN(2, image_size=size, n_blocks=most, filters=2, pooling=pooling, norm=norm)
        assert model(torch.randn(4, 1, size, size)).shape == (4, 2)
