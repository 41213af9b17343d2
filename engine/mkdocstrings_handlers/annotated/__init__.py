"""The `annotated` handler: a module or an executed notebook, prose on the left and code on the right."""

from .handler import AnnotatedHandler, get_handler

__all__ = ["AnnotatedHandler", "get_handler"]
