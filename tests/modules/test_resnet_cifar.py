import numpy as np
import pytest
import torch

from hpo.data import find_resnet_cifar10, load_cifar10
from hpo.exceptions import DataError
from hpo.modules import ConvEncoder, ResNetCIFAR

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights():
    try:
        return find_resnet_cifar10("resnet20")
    except DataError as error:
        pytest.skip(f"no data: {error}")


def n_parameters(model):
    return sum(p.numel() for p in model.parameters())


def test_it_has_the_published_number_of_parameters():
    # He et al. 2016, table 6: 0.27 and 0.46 millions
    assert round(n_parameters(ResNetCIFAR(depth=20)) / 1e6, 2) == 0.27
    assert round(n_parameters(ResNetCIFAR(depth=32)) / 1e6, 2) == 0.46


def test_published_weights_know_their_training_images(weights):
    try:
        data = load_cifar10(n_train=300, lossless=True)
    except DataError as error:
        pytest.skip(f"no data: {error}")
    model = ResNetCIFAR(weights=weights).eval()
    with torch.inference_mode():
        predicted = model(torch.as_tensor(data.X)).argmax(1).numpy()
    assert np.mean(predicted == data.y) > 0.98


def test_another_number_of_classes_takes_the_body_and_a_new_head(weights):
    ten, three = ResNetCIFAR(weights=weights), ResNetCIFAR(3, weights=str(weights))
    assert torch.equal(ten.stage3[2].conv2.weight, three.stage3[2].conv2.weight)
    assert torch.equal(ten.stage3[2].bn2.running_var, three.stage3[2].bn2.running_var)
    assert three.head.weight.shape == (3, 64)


def test_unpretrained_does_not_look_at_the_weights(weights):
    torch.manual_seed(0)
    fresh = ResNetCIFAR(weights=weights, pretrained=False)
    torch.manual_seed(0)
    assert torch.equal(fresh.stage1[0].conv1.weight, ResNetCIFAR().stage1[0].conv1.weight)


def test_weights_of_another_depth_are_refused(weights):
    with pytest.raises(ValueError, match="does not hold the weights of a ResNetCIFAR of this"):
        ResNetCIFAR(depth=14, weights=weights)
    with pytest.raises(ValueError, match="does not hold the weights of a ResNetCIFAR of this"):
        ResNetCIFAR(depth=26, weights=weights)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"depth": 18}, "must be 6 n . 2 .* Got 18"), ({"n_classes": 0}, "at least 1. Got 0")],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNetCIFAR(**arguments)


def test_weights_that_are_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_DATA", str(tmp_path))
    monkeypatch.setenv("HPO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"resnet20 are not on this machine.* Set HPO_DATA"):
        find_resnet_cifar10("resnet20")
    with pytest.raises(DataError, match="must be one of: resnet20"):
        find_resnet_cifar10("resnet21")


def test_the_encoder_says_how_many_features_it_gives():
    encoder = ConvEncoder(width=4, n_stages=3)
    assert encoder(torch.rand(2, 3, 20, 20)).shape == (2, encoder.n_features)
    assert encoder.n_features == 16
    with pytest.raises(ValueError, match="width of ConvEncoder must be at least 1"):
        ConvEncoder(width=0)
