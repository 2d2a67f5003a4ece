"""The interfaces of other packages, with relprop underneath: one module for each package."""
