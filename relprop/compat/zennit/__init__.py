"""zennit's rules, composites and attributors, with relprop underneath: change the import.

The modules have zennit's names: `attribution`, `canonizers`, `composites`, `core`, `image`,
`layer`, `rules`, `torchvision`, `types`. Names, arguments and what is returned are those of zennit
0.5.1, which need not be installed. docs/zennit.md says how to move over, and what differs.
"""
