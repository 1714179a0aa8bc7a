"""Client of Ringfence, one door to your databases: everybody sees their own rows, whatever they ask."""

from __future__ import annotations

from .aio import AsyncRows, AsyncSession
from .async_resources import AsyncCube, AsyncModel, AsyncTable
from .conditions import Condition
from .credentials import Basic
from .cubecalls import Cells, Hierarchy, Level
from .errors import (
    ApiError,
    ApprovalPending,
    AuthenticationFailed,
    Busy,
    Conflict,
    ConnectionFailed,
    MissingDependency,
    NotFound,
    NotPermitted,
    Refused,
    RingfenceError,
    ServerFailed,
    TimedOut,
    UnexpectedAnswer,
)
from .frames import Result, Row
from .measures import Measure, count, count_distinct, max, mean, median, min, quantile, share, sum
from .modelcalls import Change, Page
from .resources import Cube, Model, Table
from .securitycalls import Role, User
from .session import InsecureTransport, Rows, Session

__all__ = [
    # Sessions and who asks.
    "Session",
    "AsyncSession",
    "Basic",
    # What goes wrong.
    "RingfenceError",
    "ApiError",
    "ApprovalPending",
    "AuthenticationFailed",
    "Busy",
    "Conflict",
    "ConnectionFailed",
    "InsecureTransport",
    "MissingDependency",
    "NotFound",
    "NotPermitted",
    "Refused",
    "ServerFailed",
    "TimedOut",
    "UnexpectedAnswer",
    # What is asked, and what comes of it.
    "AsyncCube",
    "AsyncModel",
    "AsyncRows",
    "AsyncTable",
    "Cells",
    "Change",
    "Condition",
    "Cube",
    "Hierarchy",
    "Level",
    "Measure",
    "Model",
    "Page",
    "Result",
    "Role",
    "Row",
    "Rows",
    "Table",
    "User",
    # What measures are made of.
    "count",
    "count_distinct",
    "max",
    "mean",
    "median",
    "min",
    "quantile",
    "share",
    "sum",
]

__version__ = "0.1.0"
