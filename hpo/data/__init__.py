"""Loaders of real data sets, and the container for the data of a study.

Importing this package loads neither torch nor scikit-learn nor transformers: each loader
imports what it needs when it is called.
"""

from typing import TYPE_CHECKING

from hpo._lazy import lazy
from hpo.data._base import StudyData
from hpo.data.characters import find_alphabet, load_characters
from hpo.data.cifar10 import load_cifar10
from hpo.data.covertype import load_covertype
from hpo.data.digits import load_digits
from hpo.data.faces import load_afhq, load_animal_faces, load_faces
from hpo.data.image_folder import load_image_folder
from hpo.data.mnist import load_fashion_mnist, load_mnist
from hpo.data.pretrained_base import pretrained_base
from hpo.data.pretrained_vit import pretrained_vit
from hpo.data.resnet_cifar10 import find_resnet_cifar10
from hpo.data.stories260k import find_stories260k
from hpo.data.table import load_npz, load_table
from hpo.data.text import ContiguousHoldout, load_text

if TYPE_CHECKING:
    from hpo.data.table_encoder import TableEncoder
else:
    __getattr__, __dir__ = lazy(__name__, {"TableEncoder": ".table_encoder"})  # with scikit-learn

__all__ = [
    "ContiguousHoldout",
    "StudyData",
    "TableEncoder",
    "find_alphabet",
    "find_resnet_cifar10",
    "find_stories260k",
    "load_afhq",
    "load_animal_faces",
    "load_characters",
    "load_cifar10",
    "load_covertype",
    "load_digits",
    "load_faces",
    "load_fashion_mnist",
    "load_image_folder",
    "load_mnist",
    "load_npz",
    "load_table",
    "load_text",
    "pretrained_base",
    "pretrained_vit",
]
