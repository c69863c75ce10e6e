"""The one schema: the same classes serve Python, YAML recipes and the command line."""

from unmask.config.base import Choice, Config, choice, config_of, folder
from unmask.config.build import build
from unmask.config.files import difference, from_yaml, to_yaml

__all__ = ["Choice", "Config", "build", "choice", "config_of", "difference", "folder", "from_yaml", "to_yaml"]
