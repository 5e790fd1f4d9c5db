"""Data that grow: streams of image-text pairs in growth steps."""

from growclip_lite.data.stream import Pairs, Stream, Task, load_stream

__all__ = ["Pairs", "Stream", "Task", "load_stream"]
