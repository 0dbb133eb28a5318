"""Training methods, one file each; `load_recipe` finds one by name or in a file of your own."""

from ssl_sbir.training.recipe_catalog import (
    RecipeInfo,
    load_preset,
    load_recipe,
    preset_names,
    recipe_info,
    recipe_infos,
    recipe_names,
    recipe_settings,
    recipe_source,
)

__all__ = [
    "RecipeInfo",
    "load_preset",
    "load_recipe",
    "preset_names",
    "recipe_info",
    "recipe_infos",
    "recipe_names",
    "recipe_settings",
    "recipe_source",
]
