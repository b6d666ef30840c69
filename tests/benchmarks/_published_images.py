"""Small published nets for images, as their authors write them."""

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

__all__ = [
    "AlexNet",
    "AllConvolutional",
    "LeNet5",
    "MnistExample",
    "ResNet20",
    "SkorchCnn",
    "SkorchMlp",
    "Vgg",
    "dense_net",
    "mnas_net",
    "mobile_net",
    "resnet18",
    "shuffle_net",
    "squeeze_net",
]

N_CLASSES = 3


class SkorchMlp(nn.Module):
    """skorch, notebooks/MNIST.ipynb: ClassifierModule."""

    def __init__(self, input_dim=784, hidden_dim=98, output_dim=N_CLASSES, dropout=0.5):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(input_dim, hidden_dim)
        self.output = nn.Linear(hidden_dim, output_dim)

    def forward(self, X, **kwargs):
        X = X.reshape(-1, self.hidden.in_features)
        X = F.relu(self.hidden(X))
        X = self.dropout(X)
        return F.softmax(self.output(X), dim=-1)


class SkorchCnn(nn.Module):
    """skorch, notebooks/MNIST.ipynb: Cnn."""

    def __init__(self, dropout=0.5):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3)
        self.conv2_drop = nn.Dropout2d(p=dropout)
        self.fc1 = nn.Linear(1600, 100)
        self.fc2 = nn.Linear(100, N_CLASSES)
        self.fc1_drop = nn.Dropout(p=dropout)

    def forward(self, x):
        x = torch.relu(F.max_pool2d(self.conv1(x), 2))
        x = torch.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, x.size(1) * x.size(2) * x.size(3))
        x = torch.relu(self.fc1_drop(self.fc1(x)))
        return torch.softmax(self.fc2(x), dim=-1)


class MnistExample(nn.Module):
    """PyTorch, examples/mnist of 2017, which drops by a function."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1 = nn.Linear(320, 50)
        self.fc2 = nn.Linear(50, N_CLASSES)

    def forward(self, x):
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = x.view(-1, 320)
        x = F.relu(self.fc1(x))
        x = F.dropout(x, training=self.training)
        return self.fc2(x)


class LeNet5(nn.Module):
    """LeCun et al. 1998, "Gradient-based learning applied to document recognition", figure 2."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, N_CLASSES)
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


class AlexNet(nn.Module):
    """Krizhevsky 2014, in torchvision's form, a quarter as wide and for 32 x 32."""

    def __init__(self, dropout=0.5):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, kernel_size=3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=2),
            nn.Conv2d(16, 48, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=2),
            nn.Conv2d(48, 96, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(96, 64, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout),
            nn.Linear(64 * 2 * 2, 128),
            nn.ReLU(inplace=True),
            nn.Dropout(p=dropout),
            nn.Linear(128, 128),
            nn.ReLU(inplace=True),
            nn.Linear(128, N_CLASSES),
        )

    def forward(self, x):
        x = self.features(x)
        x = self.avgpool(x)
        x = torch.flatten(x, 1)
        return self.classifier(x)


class AllConvolutional(nn.Module):
    """Springenberg et al. 2015, "Striving for simplicity", All-CNN-C, a quarter as wide."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 3, padding=1)
        self.conv2 = nn.Conv2d(24, 24, 3, padding=1)
        self.conv3 = nn.Conv2d(24, 24, 3, padding=1, stride=2)
        self.conv4 = nn.Conv2d(24, 48, 3, padding=1)
        self.conv5 = nn.Conv2d(48, 48, 3, padding=1, stride=2)
        self.conv6 = nn.Conv2d(48, 48, 1)
        self.class_conv = nn.Conv2d(48, N_CLASSES, 1)

    def forward(self, x):
        x = F.dropout(x, 0.2, self.training)
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = F.dropout(F.relu(self.conv3(x)), 0.5, self.training)
        x = F.relu(self.conv5(F.relu(self.conv4(x))))
        x = F.dropout(x, 0.5, self.training)
        x = F.relu(self.class_conv(F.relu(self.conv6(x))))
        return F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)


class Vgg(nn.Module):
    """kuangliu/pytorch-cifar, models/vgg.py: layers by a list, an eighth as wide."""

    def __init__(self, cfg=(8, "M", 16, "M", 32, 32, "M", 64, 64, "M", 64, 64, "M")):
        super().__init__()
        layers, channels = [], 3
        for width in cfg:
            if width == "M":
                layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
            else:
                layers += [
                    nn.Conv2d(channels, width, kernel_size=3, padding=1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                channels = width
        layers += [nn.AvgPool2d(kernel_size=1, stride=1)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(64, N_CLASSES)

    def forward(self, x):
        out = self.features(x)
        out = out.view(out.size(0), -1)
        return self.classifier(out)


class LambdaLayer(nn.Module):
    """A function as a layer."""

    def __init__(self, lambd):
        super().__init__()
        self.lambd = lambd

    def forward(self, x):
        return self.lambd(x)


class BasicBlock(nn.Module):
    """Of `ResNet20`."""

    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = LambdaLayer(
                lambda x: F.pad(
                    x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4), "constant", 0
                )
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet20(nn.Module):
    """akamaster/pytorch_resnet_cifar10, resnet20 (He et al. 2016, section 4.2)."""

    def __init__(self, num_blocks=(3, 3, 3)):
        super().__init__()
        self.in_planes = 16
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._make_layer(16, num_blocks[0], stride=1)
        self.layer2 = self._make_layer(32, num_blocks[1], stride=2)
        self.layer3 = self._make_layer(64, num_blocks[2], stride=2)
        self.linear = nn.Linear(64, N_CLASSES)
        self.apply(_kaiming)

    def _make_layer(self, planes, num_blocks, stride):
        layers = []
        for one in [stride] + [1] * (num_blocks - 1):
            layers.append(BasicBlock(self.in_planes, planes, one))
            self.in_planes = planes
        return nn.Sequential(*layers)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, out.size()[3])
        out = out.view(out.size(0), -1)
        return self.linear(out)


def _kaiming(layer):
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight)


def squeeze_net():
    """torchvision's SqueezeNet 1.1 (Iandola et al. 2016)."""
    return torchvision.models.squeezenet1_1(num_classes=N_CLASSES)


def mobile_net():
    """torchvision's MobileNetV3-Small (Howard et al. 2019)."""
    return torchvision.models.mobilenet_v3_small(num_classes=N_CLASSES)


def shuffle_net():
    """torchvision's ShuffleNetV2 0.5 (Ma et al. 2018)."""
    return torchvision.models.shufflenet_v2_x0_5(num_classes=N_CLASSES)


def mnas_net():
    """torchvision's MNASNet 0.5 (Tan et al. 2019)."""
    return torchvision.models.mnasnet0_5(num_classes=N_CLASSES)


def resnet18():
    """torchvision's ResNet-18 (He et al. 2016)."""
    return torchvision.models.resnet18(num_classes=N_CLASSES)


def dense_net():
    """torchvision's DenseNet (Huang et al. 2017) of three small blocks that drop."""
    return torchvision.models.DenseNet(
        growth_rate=8,
        block_config=(2, 2, 2),
        num_init_features=16,
        drop_rate=0.2,
        num_classes=N_CLASSES,
    )
