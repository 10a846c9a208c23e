"""The store: runs, jobs, attempts, metrics, results and costs in one database."""

from emabench.store.connection.location import store_label
from emabench.store.run_store import RunStore

__all__ = ["RunStore", "store_label"]
