"""Whole data sets: explained batch by batch, onto disk, with a journal to continue from.

>>> source = open_source([Path("photos")], decode, shape=(3, 224, 224))
>>> with open_output(Path("out.zarr"), source, made={"model": "mine"}, batching={}) as output:
...     rows = explain_all(source, LocalEngine(LRP(model)), output)
>>> write_summary(rows, Path("out.csv"))
"""

from relprop.batch.cluster import Cluster
from relprop.batch.engine import Engine, LocalEngine, ModelFailedError
from relprop.batch.items import Batch, Explained, Item, Row
from relprop.batch.output import Output, open_output
from relprop.batch.pipeline import explain_all
from relprop.batch.ray_engine import RayEngine
from relprop.batch.sources import Examples, Pictures, Source, open_source
from relprop.batch.summary import check_summary, write_summary

__all__ = [
    "Batch",
    "Cluster",
    "Engine",
    "Examples",
    "Explained",
    "Item",
    "LocalEngine",
    "ModelFailedError",
    "Output",
    "Pictures",
    "RayEngine",
    "Row",
    "Source",
    "check_summary",
    "explain_all",
    "open_output",
    "open_source",
    "write_summary",
]
