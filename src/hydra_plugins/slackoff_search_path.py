"""Hydra's search path, with the folder ``conf`` of each package that a person named, behind ours."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class PackagesSearchPath(SearchPathPlugin):
    """Presets of the packages of ``slackoff.config.packages``; one of ours with the same name comes first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from slackoff.config.packages import conf_folders

        for folder in conf_folders():
            search_path.append("slackoff.packages", f"file://{folder}")
