"""The settings of the server. Each is an environment variable: `ZOO_` and its name in capitals.

Names end in their unit. Each setting has a default; the sentence under it says what it does and when to change it.

definitions.py    `Settings`: every setting
model_options.py  `ModelOptions`: what can differ between models
loading.py        from the environment and the command line
problems.py       the problem with a setting, in words
machine.py        cores and memory that this process may use
home.py           the folder of a server
"""

from service.settings.definitions import Settings
from service.settings.home import HOME_FOLDERS, HOME_LOCK, printable_path
from service.settings.loading import load_settings, service_variables, with_options
from service.settings.machine import usable_cores, usable_memory_bytes
from service.settings.model_options import ModelOptions, Optimize, Precision
from service.settings.problems import SettingsError, unknown_option_problem, validation_problem

__all__ = [
    "HOME_FOLDERS",
    "HOME_LOCK",
    "ModelOptions",
    "Optimize",
    "Precision",
    "Settings",
    "SettingsError",
    "load_settings",
    "printable_path",
    "service_variables",
    "unknown_option_problem",
    "usable_cores",
    "usable_memory_bytes",
    "validation_problem",
    "with_options",
]
