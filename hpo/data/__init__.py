"""Real data sets by name, and the form in which a study takes its data.

Importing this package loads neither torch nor scikit-learn: each loader imports what it
needs when it is called.
"""

from hpo.data._base import StudyData
from hpo.data.digits import load_digits
from hpo.data.mnist import load_mnist

__all__ = ["StudyData", "load_digits", "load_mnist"]
