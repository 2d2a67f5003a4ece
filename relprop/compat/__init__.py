"""The interfaces of other packages, with relprop underneath, and what these have in common."""
