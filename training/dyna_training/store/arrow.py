"""The package that Parquet is read and written with, or a message that says how to get it."""

from __future__ import annotations

from dyna_training.store.problems import StoreError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as error:
    raise StoreError("Parquet needs the package pyarrow: pip install 'dyna-graph[data]'") from error

__all__ = ["pa", "pq"]
