"""Where workers run: on this machine (`Local`), a Ray cluster (`Ray`), or SLURM (`Slurm`); one file each."""

from reasoning_anatomy.pipeline.executors.local import Local as Local
from reasoning_anatomy.pipeline.executors.ray import Ray as Ray
from reasoning_anatomy.pipeline.executors.slurm import Slurm as Slurm
from reasoning_anatomy.pipeline.executors.work import Executor as Executor
from reasoning_anatomy.pipeline.executors.work import Outcome as Outcome
from reasoning_anatomy.pipeline.executors.work import Work as Work
from reasoning_anatomy.pipeline.executors.work import execute as execute
