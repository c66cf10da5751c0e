"""The store on SQL: SQLite now, written so that PostgreSQL can follow."""

from dtms.adapters.store_sql.leases import LeaseEvent, LeaseEventKind, LeaseWorld, this_holder
from dtms.adapters.store_sql.store import SqlStore

__all__ = ["LeaseEvent", "LeaseEventKind", "LeaseWorld", "SqlStore", "this_holder"]
