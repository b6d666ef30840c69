"""Published residual networks, trained on CIFAR-10."""

from pathlib import Path

from hpo.data.folder import cache_folder, data_folder
from hpo.exceptions import DataError

__all__ = ["find_resnet_cifar10"]

NAMES = ("resnet20", "resnet32", "resnet44", "resnet56")


def find_resnet_cifar10(name: str = "resnet20") -> Path:
    """Return the file of a residual network's weights, for `hpo.modules.ResNetCIFAR`.

    It was trained on the 50,000 original training images of CIFAR-10 by Yerlan Idelbayev
    (https://github.com/akamaster/pytorch_resnet_cifar10, folder ``pretrained_models``; stated
    test accuracies 91.78, 92.78, 93.14 and 93.62 %). Fine-tuning on these images therefore starts
    from a net that has seen them, and cross-validation on them is too optimistic.

    It searches for ``models/resnet_cifar10/NAME-*.th`` in ``$HPO_DATA`` and the cache folder
    (``$HPO_CACHE``, else ``~/.cache/hpo``).

    Parameters
    ----------
    name : {"resnet20", "resnet32", "resnet44", "resnet56"}, default="resnet20"

    Raises
    ------
    DataError
        If the name is none of these, or the file is not found.
    """
    if name not in NAMES:
        raise DataError(f"The name must be one of: {', '.join(NAMES)}. Got {name!r} instead.")
    folders = [f / "models" / "resnet_cifar10" for f in (data_folder(), cache_folder()) if f]
    for folder in folders:
        for file in sorted(folder.glob(f"{name}-*.th")):
            return file
    patterns = " and ".join(str(folder / f"{name}-*.th") for folder in folders)
    raise DataError(
        f"The weights of {name} are not on this machine. Looked for {patterns}. Set HPO_DATA to a "
        "folder that holds them."
    )
