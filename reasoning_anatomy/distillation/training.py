"""Train one student on the rows of its arm; a killed process continues from its last checkpoint."""

import importlib
import importlib.util
import json
import math
import resource
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from reasoning_anatomy.distillation.recipe import PROJECTIONS, Recipe
from reasoning_anatomy.distillation.together import Together
from reasoning_anatomy.distillation.training_sets import NOT_PREDICTED
from reasoning_anatomy.errors import ModelError
from reasoning_anatomy.files import write_atomic
from reasoning_anatomy.models.loading import LoadedModel, load_model
from reasoning_anatomy.models.progress_bars import without_progress_bars
from reasoning_anatomy.progress import Stage
from reasoning_anatomy.specs import ModelSpec
from reasoning_anatomy.types import IntArray

Rows = Sequence[Mapping[str, Sequence[int]]]
"""``input_ids`` and ``labels`` of every row."""

_CHECKPOINTS: Final = "checkpoints"
_LAST_OF_CHECKPOINT: Final = "trainer_state.json"
"""The file of a checkpoint that is written last."""


@dataclass(frozen=True)
class Trained:
    """How a training went.

    Attributes
    ----------
    steps
        Of the optimiser.
    supervised_tokens
        Tokens that were to be predicted, over all steps.
    loss
        Mean of the last tenth of the steps, in nats per supervised token.
    seconds
        Of the clock, without those before a restart.
    peak_mib
        Most memory that was held: of the accelerator, or of the process.
    """

    steps: int
    supervised_tokens: int
    loss: float
    seconds: float
    peak_mib: float


def train(
    spec: ModelSpec,
    rows: Rows,
    recipe: Recipe,
    *,
    n_steps: int,
    seed: int,
    folder: Path,
    together: Together | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    config: PreTrainedConfig | None = None,
    stage: Stage | None = None,
) -> Trained:
    """Train a student and write it into a folder that `load_model` loads, with ``trained.json`` last.

    Parameters
    ----------
    spec
        The model before it is taught.
    rows
        Of its training set.
    recipe
        How it is trained.
    n_steps
        Steps of the optimiser.
    seed
        Of an adapter's first weights and the order of the rows, see `order_of_rows`.
    folder
        Of the student; checkpoints of a process that was killed are taken up.
    together
        Processes that share the rows of every step, of which the main one writes; this one alone if None.
    tokenizer, config
        As for `load_model`.
    stage
        Is told of every step.

    Raises
    ------
    ModelError
        The model cannot be loaded, or not be trained in this way; or the loss is not a finite number.
    """
    together = together or Together(spec.device, batch_size=recipe.batch_size)
    loaded = load_model(spec, tokenizer=tokenizer, config=config)
    set_seed(seed)
    model = trainable(loaded, spec, recipe)
    order = order_of_rows(len(rows), n_steps * recipe.batch_size, seed=seed)
    start = time.perf_counter()
    trainer = Trainer(
        model=model,
        args=_arguments(folder / _CHECKPOINTS, recipe, n_steps=n_steps, seed=seed, loaded=loaded, n_processes=together.n),
        train_dataset=_InOrder(rows, order),
        data_collator=padded,
        callbacks=[_Watching(spec, stage)],
    )
    trainer.remove_callback(PrinterCallback)  # which prints a line a step
    with together.main_first():
        last = _last_checkpoint(folder / _CHECKPOINTS)
    with _without_notes_of_peft():
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry][-max(1, n_steps // 10) :]
    trained = Trained(
        steps=trainer.state.global_step,
        supervised_tokens=sum(n_supervised(rows[number]) for number in order),
        loss=sum(losses) / len(losses),
        seconds=time.perf_counter() - start,
        peak_mib=_peak_mib(loaded),
    )
    if together.is_main:
        _write(model, loaded, folder)
        write_atomic(folder / "trained.json", json.dumps(vars(trained), indent=1))
        shutil.rmtree(folder / _CHECKPOINTS, ignore_errors=True)
    return trained


def expect_trainable(spec: ModelSpec, recipe: Recipe) -> None:
    """Raise `ModelError` if all weights are to be trained, but are held in 4 or 8 bits; or if peft is missing."""
    if recipe.method == "full" and spec.quantize is not None:
        raise ModelError(f"{spec.id}: weights held in {spec.quantize} cannot all be trained; train --method lora")
    if recipe.method == "lora" and importlib.util.find_spec("peft") is None:
        raise ModelError("adapters are trained by peft; run: pip install 'reasoning-anatomy[distill]', or train --method full")


def trainable(loaded: LoadedModel, spec: ModelSpec, recipe: Recipe) -> Any:
    """Make a loaded model ready to be trained: all of it, or an adapter on its frozen weights; see `expect_trainable`."""
    expect_trainable(spec, recipe)
    model: Any = loaded.model
    if loaded.quantization is None:
        _forget_file_format(model)
    if recipe.method == "full":
        return model.train()
    if loaded.quantization is not None:
        peft: Any = importlib.import_module("peft")
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    model = adapted(model, recipe)
    model.peft_config["default"].base_model_name_or_path = spec.id  # what was asked for, not where its file lies
    model.peft_config["default"].revision = spec.revision
    return model.train()


def adapted(model: Any, recipe: Recipe) -> Any:
    """Put an adapter on frozen weights."""
    peft: Any = importlib.import_module("peft")
    config = peft.LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, lora_dropout=0.0, target_modules=PROJECTIONS, task_type="CAUSAL_LM"
    )
    with _without_notes_of_peft():
        return peft.get_peft_model(model, config)


@contextmanager
def _without_notes_of_peft() -> Iterator[None]:
    """Keep to itself what peft says of other libraries, and of a base whose vocabulary stays as it is, at every save."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
        warnings.filterwarnings("ignore", message="Could not find a config file in")
        yield


def _forget_file_format(model: Any) -> None:
    """Let a trainer take weights that were read from a GGUF file for what they are: floating point numbers."""
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def is_mixed(loaded: LoadedModel) -> bool:
    """Whether passes of a training are autocast to bfloat16: those of a model held in it, on an accelerator."""
    return loaded.device.type != "cpu" and loaded.model.dtype == torch.bfloat16


def order_of_rows(n_rows: int, n: int, *, seed: int) -> IntArray:
    """Draw which row is read when: one shuffled pass after the other, as many rows as are asked for.

    It depends on the number of rows, not on what is in them: students of one seed are taught the same chains in the same order.

    >>> sorted(order_of_rows(3, 6, seed=0).tolist())
    [0, 0, 1, 1, 2, 2]
    """
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(n_rows) for _ in range(-(-n // n_rows))])[:n]


def n_supervised(row: Mapping[str, Sequence[int]]) -> int:
    """Count the tokens that are to be predicted."""
    return sum(label != NOT_PREDICTED for label in row["labels"])


def padded(rows: Rows) -> dict[str, Tensor]:
    """Make a batch: rows padded on the right, and nothing of the padding read or predicted.

    ``logits_to_keep`` are the positions from the one that predicts the first label on, and ``labels`` begin there, too: logits
    are as wide as the vocabulary, and those of the prompts are not needed.
    """
    length = max(len(row["input_ids"]) for row in rows)
    first = min(next(place for place, label in enumerate(row["labels"]) if label != NOT_PREDICTED) for row in rows)
    start = max(0, first - 1)

    def filled(name: str, padding: int) -> Tensor:
        return torch.tensor([[*row[name], *[padding] * (length - len(row[name]))] for row in rows])

    mask = [[1] * len(row["input_ids"]) + [0] * (length - len(row["input_ids"])) for row in rows]
    return {
        "input_ids": filled("input_ids", 0), "labels": filled("labels", NOT_PREDICTED)[:, start:],
        "attention_mask": torch.tensor(mask), "logits_to_keep": torch.arange(start, length),
    }  # fmt: skip


class _InOrder(Dataset[Mapping[str, Sequence[int]]]):
    """Rows in the order in which they are read."""

    def __init__(self, rows: Rows, order: IntArray) -> None:
        self._rows, self._order = rows, order

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> Mapping[str, Sequence[int]]:
        return self._rows[int(self._order[index])]


class _Watching(TrainerCallback):
    """Reports every step, and ends a training whose loss is no number."""

    def __init__(self, spec: ModelSpec, stage: Stage | None) -> None:
        self._spec, self._stage, self._step = spec, stage, 0

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Look at the loss."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            raise ModelError(
                f"{self._spec.id}: the loss of step {state.global_step} is not a finite number; lower --learning-rate, or "
                "hold the model in --dtype float32"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say how far the training has come; the first time, with the steps of earlier processes."""
        if self._stage is not None:
            self._stage.advance(state.global_step - self._step)
        self._step = state.global_step


def _arguments(
    folder: Path, recipe: Recipe, *, n_steps: int, seed: int, loaded: LoadedModel, n_processes: int
) -> TrainingArguments:
    rows_at_once = math.gcd(recipe.rows_at_once, recipe.batch_size // n_processes)
    is_cpu = loaded.device.type == "cpu"
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=rows_at_once,
        gradient_accumulation_steps=recipe.batch_size // (rows_at_once * n_processes),
        max_steps=n_steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup if recipe.warmup < 1 else n_steps,
        weight_decay=0.0,
        train_sampling_strategy="sequential",
        save_strategy="steps",
        save_steps=recipe.checkpoint_every,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        seed=seed,
        use_cpu=is_cpu,
        dataloader_pin_memory=not is_cpu,
        bf16=is_mixed(loaded),
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )


def _last_checkpoint(folder: Path) -> Path | None:
    """Find the last checkpoint that is whole, and remove those that are not."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        try:
            json.loads((path / _LAST_OF_CHECKPOINT).read_text(encoding="utf-8"))
            whole.append(path)
        except (OSError, ValueError):
            shutil.rmtree(path)
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _write(model: Any, loaded: LoadedModel, folder: Path) -> None:
    with without_progress_bars(), _without_notes_of_peft():
        model.save_pretrained(str(folder))
        if isinstance(model, PreTrainedModel):
            loaded.tokenizer.save_pretrained(str(folder))


def _peak_mib(loaded: LoadedModel) -> float:
    if loaded.device.type == "cuda":
        return torch.cuda.max_memory_allocated(loaded.device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
