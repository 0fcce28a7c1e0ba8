"""{{ cookiecutter.package_name }}: an event handler that records every db-ally request in files."""

from .blocks import recording, unrecorded
from .handler import {{ cookiecutter.handler_class }}
from .logfile import LogFile
from .privacy import declare
from .recorder import Recorder
from .records import Record

__all__ = ["{{ cookiecutter.handler_class }}", "LogFile", "Record", "Recorder", "declare", "recording", "unrecorded"]
