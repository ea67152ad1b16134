"""Robot Framework keywords for training episodes: ``Library    mcutrain.robot.McutrainLibrary``."""

from mcutrain.robot.library import McutrainLibrary

__all__ = ["McutrainLibrary"]
