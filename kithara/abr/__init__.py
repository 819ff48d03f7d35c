"""Adaptive bit rate: which variant to fetch next. Pure; nothing here touches network, clock or disk."""

from .controller import Controller as Controller
from .controller import simulation_controller as simulation_controller
from .estimator import Estimator as Estimator
from .options import AbrOptions as AbrOptions

__all__ = ["AbrOptions", "Controller", "Estimator", "simulation_controller"]
