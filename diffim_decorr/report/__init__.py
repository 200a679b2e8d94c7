"""Pages on what was found of images. Needs jinja2 and matplotlib (the extra "report")."""
