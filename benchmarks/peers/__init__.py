"""relprop beside other packages, network by network: tables for docs/*-peers.md."""
