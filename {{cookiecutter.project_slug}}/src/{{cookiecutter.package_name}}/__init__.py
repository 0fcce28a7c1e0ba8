"""{{ cookiecutter.package_name }}: an event handler that records every db-ally request in files."""

from .contexts import record_exception
from .handler import {{ cookiecutter.handler_class }}
from .limits import Limits
from .records import Record, Request

__all__ = ["{{ cookiecutter.handler_class }}", "Limits", "Record", "Request", "record_exception"]
