"""Describe arrays, tensors, sparse matrices and data frames by value, whatever their layout."""

import hashlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpo.identity._description import Description, cut, mark_of, unknown
from hpo.identity._plain import as_json

__all__ = ["describe_array"]

_BLOCK = 1 << 24
_SHOWN = 6
"""Arrays of up to this many numbers are shown with all their values."""

Describe = Callable[[Any], Description]


def describe_array(value: Any, describe: Describe) -> Description | None:
    """Return the description of any kind of array; None if ``value`` is not an array.

    Arrays are equal if their values and types are: in C or Fortran order, as a view or a copy, as
    a tensor on any device or an array, as a sparse matrix in any format, in any byte order.

    Parameters
    ----------
    value : object
    describe : callable
        Describes the objects in an array of objects.
    """
    if isinstance(value, np.ndarray):
        return _array(value, describe)
    torch, sparse = sys.modules.get("torch"), sys.modules.get("scipy.sparse")
    if torch is not None and isinstance(value, torch.Tensor):
        return _tensor(value, torch, describe)
    if sparse is not None and sparse.issparse(value):
        return _sparse(value)
    table = _table(value, sys.modules.get("pandas"), describe)
    if table is None and hasattr(type(value), "__array__") and hasattr(value, "shape"):
        return _foreign(value, describe)
    return table


def _array(value: np.ndarray[Any, Any], describe: Describe) -> Description:
    mask = getattr(value, "mask", np.ma.nomask)
    if mask is np.ma.nomask:
        plain = np.asarray(value)
        return _describe_values(plain.dtype, plain.shape, _content(plain, describe), plain)
    marks = [_content(np.ma.filled(value, value.dtype.type()), describe), _bytes(np.array(mask))]
    return _describe_values(value.dtype, value.shape, mark_of("masked", of=marks), None)


def _describe_values(
    dtype: Any, shape: Sequence[int], content: str, values: np.ndarray[Any, Any] | None
) -> Description:
    name = _type_name(dtype)
    mark = mark_of("array", name, repr(tuple(map(int, shape))), of=[content])
    if values is not None and values.size <= _SHOWN and values.dtype.kind in "biuf":
        return Description(cut(f"{name} array {values.tolist()}"), mark)
    size = " x ".join(map(str, shape))
    return Description(f"{size or 'single'} {name} array", mark)


def _type_name(dtype: Any) -> str:
    if isinstance(dtype, np.dtype):
        if dtype.kind in "US":  # the maximum length is a matter of layout
            return "text" if dtype.kind == "U" else "bytes"
        return str(dtype.newbyteorder("=")) if dtype.names else dtype.name
    return str(dtype).removeprefix("torch.")


def _content(array: np.ndarray[Any, Any], describe: Describe) -> str:
    """Return the mark of the values of an array."""
    if array.dtype.names:
        return mark_of("fields", of=[_content(array[name], describe) for name in array.dtype.names])
    if array.dtype.kind in "OUS":
        return _objects(array.ravel().tolist(), describe)
    return _bytes(array)


def _objects(items: list[Any], describe: Describe) -> str:
    text = as_json(items)
    if text is not None:
        return mark_of("values", _digest([text.encode()]))
    return mark_of("objects", of=[describe(item).mark for item in items])


def _bytes(array: np.ndarray[Any, Any]) -> str:
    """Return the mark of numeric values, in C order and native byte order."""
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if native.ndim == 0 or native.size == 0 or native.flags.c_contiguous:
        return mark_of("bytes", _digest([native]))
    rows = max(1, _BLOCK * len(native) // native.nbytes)  # a full copy may not fit into memory
    blocks = (native[start : start + rows] for start in range(0, len(native), rows))
    return mark_of("bytes", _digest(blocks))


def _digest(blocks: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for block in blocks:
        if isinstance(block, np.ndarray):
            digest.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
        else:
            digest.update(block)
    return digest.hexdigest()


def _tensor(value: Any, torch: Any, describe: Describe) -> Description:
    try:
        value = value.detach()
        if value.is_nested:
            marks = [_tensor(item, torch, describe).mark for item in value.unbind()]
            return Description(f"{len(marks)} nested tensors", mark_of("nested", of=marks))
        if value.layout is not torch.strided:
            return _sparse_tensor(value.to_sparse_coo().coalesce(), torch, describe)
        if value.device.type == "meta":
            return _describe_values(value.dtype, value.shape, "meta", None)
        array = _on_cpu(value.as_subclass(torch.Tensor), torch)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        return unknown("a tensor", f"{type(error).__name__}: {error}")
    return _describe_values(value.dtype, value.shape, _bytes(array), array)


def _on_cpu(value: Any, torch: Any) -> np.ndarray[Any, Any]:
    plain = (value.dequantize() if value.is_quantized else value).cpu()
    plain = plain.resolve_conj().resolve_neg()
    try:
        array: np.ndarray[Any, Any] = plain.numpy()
    except TypeError:  # a type that NumPy does not have, such as bfloat16
        array = plain.reshape(-1).contiguous().view(torch.uint8).numpy()
    return array


def _sparse_tensor(value: Any, torch: Any, describe: Describe) -> Description:
    marks = [_tensor(part, torch, describe).mark for part in (value.indices(), value.values())]
    summary = _describe_values(value.dtype, value.shape, "", None)
    return Description(f"{summary.text}, sparse", mark_of("sparse tensor", summary.mark, of=marks))


def _sparse(value: Any) -> Description:
    rows = value.tocsr(copy=True) if value.ndim == 2 else value.tocoo(copy=True).reshape(1, -1)
    rows = rows.tocsr()
    rows.sum_duplicates()
    rows.eliminate_zeros()
    positions = (rows.indptr.astype(np.int64), rows.indices.astype(np.int64))
    marks = [_bytes(array) for array in (*positions, rows.data)]
    summary = _describe_values(value.dtype, value.shape, "", None)
    return Description(f"{summary.text}, sparse", mark_of("sparse", summary.mark, of=marks))


def _table(value: Any, pandas: Any, describe: Describe) -> Description | None:
    """Return the description of a pandas object; None for anything else."""
    if pandas is None:
        return None
    if isinstance(value, pandas.DataFrame):
        return _frame(value, pandas, describe)
    columns = (pandas.Series, pandas.Index, pandas.api.extensions.ExtensionArray)
    if isinstance(value, columns):
        return _series(pandas.Series(value), pandas, describe)
    return None


def _frame(value: Any, pandas: Any, describe: Describe) -> Description:
    """Return the description of a data frame: the names, types and values of its columns.

    The index counts unless its labels are integers, which only say how the rows were selected.
    """
    size = " x ".join(map(str, value.shape))
    names = describe(list(value.columns))
    index = _index(value.index, pandas, describe)
    kinds = set(value.dtypes)
    if len(kinds) == 1 and isinstance(next(iter(kinds)), np.dtype):
        values = _array(value.to_numpy(), describe)
        mark = mark_of("frame", of=[names.mark, values.mark, index.mark])
        parts = {"columns": names, "values": values, "index": index}
        return Description(f"{size} data frame", mark, parts)
    columns = [_series(value.iloc[:, i], pandas, describe) for i in range(value.shape[1])]
    mark = mark_of("frame", of=[names.mark, *(column.mark for column in columns), index.mark])
    by_name = {str(name): column for name, column in zip(value.columns, columns, strict=True)}
    listed = by_name if len(by_name) <= 50 else {}
    return Description(f"{size} data frame", mark, {"columns": names, **listed, "index": index})


def _index(index: Any, pandas: Any, describe: Describe) -> Description:
    if pandas.api.types.is_integer_dtype(index.dtype):
        return Description("numbered rows", mark_of("numbered"))
    return _series(pandas.Series(index), pandas, describe)


def _series(value: Any, pandas: Any, describe: Describe) -> Description:
    dtype = value.dtype
    if isinstance(dtype, np.dtype):
        return _array(value.to_numpy(), describe)
    if isinstance(dtype, pandas.CategoricalDtype):
        of = [_bytes(value.cat.codes.to_numpy(np.int64)), describe(list(dtype.categories)).mark]
        kind = f"category, {'' if dtype.ordered else 'not '}ordered"
    elif pandas.api.types.is_string_dtype(dtype):  # whichever backend stores the strings
        of = [_objects([None if v is pandas.NA else v for v in value.tolist()], describe)]
        kind = "text"
    else:
        of = [_hash_values(value, pandas, describe), _bytes(value.isna().to_numpy())]
        kind = str(dtype)
    mark = mark_of("series", kind, str(len(value)), of=of)
    return Description(f"{len(value)} {kind.partition(',')[0]} column", mark)


def _hash_values(value: Any, pandas: Any, describe: Describe) -> str:
    try:
        return _bytes(pandas.util.hash_array(value.array))
    except (TypeError, ValueError):
        return _objects(value.tolist(), describe)


def _foreign(value: Any, describe: Describe) -> Description:
    """Return the description of an object with the array protocol, or of a table of columns."""
    kind = type(value).__name__
    if hasattr(value, "columns"):
        names = list(value.columns)
        columns = [_array(np.asarray(value[name]), describe) for name in names]
        mark = mark_of("columns", kind, of=[describe(names).mark, *(c.mark for c in columns)])
        return Description(f"{len(value)} x {len(names)} {kind}", mark)
    inner = _array(np.asarray(value), describe)
    return Description(f"{inner.text} ({kind})", mark_of("foreign", kind, of=[inner.mark]))
