"""Recipes that come with the package: TOML files by name."""

from pathlib import Path

FOLDER = Path(__file__).parent


def recipes() -> dict[str, Path]:
    """Return the recipes by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}
