"""From configs to objects, and the presets that ship with the package."""
