"""One explanation as one HTML page that holds all it shows, and asks no network for anything."""

from relprop.visualize.page.contents import Answer, Chapter, Page
from relprop.visualize.page.rendering import render, save_page

__all__ = ["Answer", "Chapter", "Page", "render", "save_page"]
