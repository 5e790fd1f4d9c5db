"""The static site of the course (`make book`): the committed notebooks as they are; nothing is executed."""

project = "growclip-lite"
author = "the growclip-lite developers"
extensions = ["myst_nb"]
nb_execution_mode = "off"
exclude_patterns = ["source", "README.md", ".ipynb_checkpoints"]
html_theme = "sphinx_book_theme"
html_title = "growclip-lite: a CLIP that grows with its data"
html_theme_options = {"home_page_in_toc": True, "show_navbar_depth": 1}
