"""Encode a table for a net: scaled numbers, and codes of categories."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, QuantileTransformer, StandardScaler
from sklearn.utils.validation import check_is_fitted

from hpo._discovery import did_you_mean

__all__ = ["TableEncoder"]

SCALES = ("standard", "quantile")


class TableEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Scales the numeric columns of a table, and encodes the categorical ones as integers.

    Use it as the first step of a Pipeline that ends in a net (`hpo.modules.TabularNet`). It is
    then fitted on the training part of each fold, and never sees the validation part.

    Parameters
    ----------
    scale : {"standard", "quantile"}, default="standard"
        Numbers are scaled to mean 0 and variance 1, or transformed to the quantiles of a normal
        distribution, which suits columns with long tails. Missing numbers are replaced by the
        mean, or the median with ``"quantile"``.

    Attributes
    ----------
    numeric_, categorical_ : list
        Names of the columns. Columns of numbers are numeric; all others, including booleans, are
        categorical.
    """

    def __init__(self, scale: str = "standard") -> None:
        self.scale = scale

    def fit(self, X: Any, y: Any = None) -> "TableEncoder":
        """Learn scales and categories.

        Parameters
        ----------
        X : data frame or array of shape (n_samples, n_columns)
        y : ignored

        Raises
        ------
        ValueError
            If ``scale`` is not one of the two.
        """
        if self.scale not in SCALES:
            hint = did_you_mean(str(self.scale), SCALES) or "."
            raise ValueError(
                f"The scale of TableEncoder must be one of: {', '.join(SCALES)}. "
                f"Got {self.scale!r} instead{hint}"
            )
        frame = pd.DataFrame(X)
        self.numeric_ = list(frame.select_dtypes("number").columns)
        self.categorical_ = [name for name in frame.columns if name not in set(self.numeric_)]
        if self.numeric_:
            self.scaler_ = self._scaler(len(frame)).fit(self._numbers(frame))
        if self.categorical_:
            self.coder_ = OrdinalEncoder(
                handle_unknown="use_encoded_value",
                unknown_value=-1,
                encoded_missing_value=-1,
                dtype=np.int64,
            ).fit(self._categories(frame))
        return self

    def transform(self, X: Any) -> dict[str, np.ndarray[Any, Any]]:
        """Return the numbers and codes of a table with the same columns.

        Returns
        -------
        dict
            ``numbers``: float32 of shape (n_samples, n_numeric). ``codes``: int64 of shape
            (n_samples, n_categorical), from 1; 0 if the category is missing or was not seen in
            ``fit``.
        """
        check_is_fitted(self, "numeric_")
        frame = pd.DataFrame(X)
        numbers, codes = np.empty((len(frame), 0)), np.empty((len(frame), 0))
        if self.numeric_:
            numbers = self.scaler_.transform(self._numbers(frame))
        if self.categorical_:
            codes = self.coder_.transform(self._categories(frame)) + 1
        return {"numbers": numbers.astype(np.float32), "codes": codes.astype(np.int64)}

    def _scaler(self, n_samples: int) -> Any:
        if self.scale == "standard":
            return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
        return make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True),
            QuantileTransformer(
                n_quantiles=min(1000, n_samples), output_distribution="normal", random_state=0
            ),
        )

    def _numbers(self, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        return frame[self.numeric_].to_numpy(dtype=np.float64, na_value=np.nan)

    def _categories(self, frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        # scikit-learn sorts the values of a column, so they must be of one type
        values = frame[self.categorical_].astype(object).to_numpy()
        texts = values.astype(str).astype(object)
        texts[pd.isna(values)] = np.nan
        return texts
