"""cmat-gym: text worlds for language agents behind the Gymnasium API, and the CMAT method that trains them.

The import registers the environment ids and loads neither a world nor torch; public names load when they are used.
"""

from __future__ import annotations

import importlib
from typing import Any

from cmat_gym.core.registry import register_worlds

__version__ = "0.1.0"

# Public name -> module. One table, so `import cmat_gym` stays light and `cmat_gym.<Tab>` shows everything.
_PUBLIC = {
    "AdmissibleActions": "cmat_gym.core.discrete",
    "Assistant": "cmat_gym.core.collaboration",
    "Call": "cmat_gym.core.protocol",
    "CheckerPotential": "cmat_gym.core.wrappers",
    "CheckerReview": "cmat_gym.core.wrappers",
    "CheckerReward": "cmat_gym.core.wrappers",
    "Collaboration": "cmat_gym.core.collaboration",
    "CmatError": "cmat_gym.core.errors",
    "Critic": "cmat_gym.core.roles",
    "DualMemory": "cmat_gym.core.memory",
    "Evaluation": "cmat_gym.evaluation.evaluate",
    "FreeText": "cmat_gym.core.spaces",
    "LessonStore": "cmat_gym.core.memory",
    "MemoryConfig": "cmat_gym.core.memory",
    "Panel": "cmat_gym.evaluation.panel",
    "Policy": "cmat_gym.core.roles",
    "PolicyCritic": "cmat_gym.core.critics",
    "PolicyReflector": "cmat_gym.core.reflection",
    "PolicyUser": "cmat_gym.core.user",
    "RecordTrajectory": "cmat_gym.core.wrappers",
    "Review": "cmat_gym.core.roles",
    "RuleReflector": "cmat_gym.core.reflection",
    "Score": "cmat_gym.core.task",
    "Task": "cmat_gym.core.task",
    "TaskSource": "cmat_gym.core.task",
    "TemplateUser": "cmat_gym.core.user",
    "TextEnv": "cmat_gym.core.env",
    "TextVectorEnv": "cmat_gym.core.vector",
    "Tool": "cmat_gym.core.protocol",
    "Trajectory": "cmat_gym.core.trajectory",
    "UserInstruction": "cmat_gym.core.user",
    "compare": "cmat_gym.evaluation.evaluate",
    "evaluate": "cmat_gym.evaluation.evaluate",
    "read_trajectories": "cmat_gym.core.trajectory",
    "replay": "cmat_gym.core.trajectory",
    "restore": "cmat_gym.core.env",
    "rollout": "cmat_gym.core.rollout",
    "snapshot": "cmat_gym.core.env",
    "write_trajectories": "cmat_gym.core.trajectory",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'cmat_gym' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])


register_worlds()
