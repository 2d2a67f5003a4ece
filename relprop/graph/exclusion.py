"""What threads that explain one model must not do at the same time."""

from __future__ import annotations

import threading

#: Held while a model is captured, and while a weight is looked up: torch.export puts other tensors
#: in the place of a model's weights, which nobody else must see. One for all models, as torch
#: captures but one at a time.
WEIGHTS = threading.RLock()
