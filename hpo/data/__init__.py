"""Real data sets by name, and the form in which a study takes its data.

Importing this package loads neither torch nor scikit-learn nor transformers: each loader
imports what it needs when it is called.
"""

from hpo.data._base import StudyData
from hpo.data.digits import load_digits
from hpo.data.mnist import load_mnist
from hpo.data.pretrained_base import pretrained_base
from hpo.data.stories260k import find_stories260k
from hpo.data.text import ContiguousHoldout, load_text

__all__ = [
    "ContiguousHoldout",
    "StudyData",
    "find_stories260k",
    "load_digits",
    "load_mnist",
    "load_text",
    "pretrained_base",
]
