"""Students: what they are taught, that a killed training goes on, and what the folder holds."""

import json
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import tyro
from safetensors.torch import load_file

from reasoning_anatomy.distillation import arithmetic
from reasoning_anatomy.distillation.arithmetic import chain_of, problem_of, stories
from reasoning_anatomy.distillation.distilling import distill, foresee
from reasoning_anatomy.distillation.forecast import count_step, measure_step
from reasoning_anatomy.distillation.orders import Orders
from reasoning_anatomy.distillation.plan import DistillationPlan
from reasoning_anatomy.distillation.questions import Taught, questions_of
from reasoning_anatomy.distillation.recipe import Examination, Recipe
from reasoning_anatomy.distillation.together import Together
from reasoning_anatomy.distillation.training import order_of_rows, padded, train
from reasoning_anatomy.distillation.training_sets import NOT_PREDICTED, kept_of_arm, taught_chains, training_set
from reasoning_anatomy.errors import MissingError, ModelError, PluginError, RunError
from reasoning_anatomy.generation.completion import Sampling
from reasoning_anatomy.models.encoding import ChainEncoder
from reasoning_anatomy.models.loading import ModelSpec, load_config, load_model, load_tokenizer
from reasoning_anatomy.pipeline.measuring import measure
from reasoning_anatomy.progress import Stages
from reasoning_anatomy.run.folder import Run
from reasoning_anatomy.run.students import ANSWER_COLUMNS, ANSWER_ONLY, FULL, UNTRAINED, Arm, Student, open_students
from reasoning_anatomy.types import ReasoningChain

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

STEPS = "step_percentile:scorer=random"
PRUNED = ("random_tokens", STEPS)
RECIPE = Recipe(rank=2, alpha=4, learning_rate=1e-2, epochs=2, batch_size=4, rows_at_once=2, checkpoint_every=2)
EXAMINATION = Examination(sampling=Sampling(temperature=0, max_tokens=4), gold_form="The answer is GOLD.")


@pytest.fixture(scope="module")
def run(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    chains = [ReasoningChain.model_validate(chain_of(story, number)) for number, story in enumerate(stories(12, seed=0))]
    wrong = chains[0].model_copy(update={"chain_id": "wrong", "question_id": "wrong", "question": "Why?", "is_correct": False})
    folder = tmp_path_factory.mktemp("taught") / "run"
    return measure(
        [*chains, wrong], model=ModelSpec(str(tiny_model_folder)), out=folder, scorers=("random",), strategies=PRUNED
    )


@pytest.fixture(scope="module")
def encoder(tiny_model_folder: Path, run: Run) -> ChainEncoder:
    return ChainEncoder(load_tokenizer(str(tiny_model_folder)), run.manifest.configuration.encoding_options)


@pytest.fixture(scope="module")
def chain_ids(run: Run) -> list[str]:
    return [chain_id for chain_id in run.chains if chain_id != "wrong"]


@pytest.fixture(scope="module")
def asked_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("asked") / "test.jsonl"
    asked = stories(15, seed=0)[12:]
    path.write_text("".join(json.dumps(problem_of(story, number)) + "\n" for number, story in enumerate(asked)))
    return path


@pytest.mark.parametrize("strategy", PRUNED)
@pytest.mark.parametrize("keep_ratio", [0.5, 0.9])
def test_rows_hold_the_ids_of_the_run_and_all_behind_the_prompt_is_to_be_predicted(
    run, encoder, chain_ids, strategy, keep_ratio
):
    taught = taught_chains(run, encoder, chain_ids, form="ids")
    for row in training_set(Orders(run), taught, Arm(strategy=strategy, keep_ratio=keep_ratio), encoder, form="ids"):
        of_run, deleted = run.encoded(row.chain_id), run.path(row.chain_id, strategy).deleted
        left = [
            position for position in range(of_run.n_reasoning) if position not in deleted[: of_run.n_reasoning - row.n_kept]
        ]
        assert row.input_ids.tolist() == [*of_run.prompt_ids, *of_run.reasoning_ids[left], *of_run.answer_ids]
        chain = run.chains[row.chain_id]
        n_prompt = len(encoder.prompt(chain.question, chain.system_prompt, owner=""))
        assert row.labels.tolist() == [NOT_PREDICTED] * n_prompt + row.input_ids[n_prompt:].tolist()


def test_the_answer_alone_has_no_reasoning_and_the_whole_chain_all_of_it(run, encoder, chain_ids):
    taught = taught_chains(run, encoder, chain_ids[:2], form="ids")
    for strategy, share in ((ANSWER_ONLY, 0), (FULL, 1)):
        for row in training_set(Orders(run), taught, Arm(strategy=strategy, keep_ratio=share), encoder, form="ids"):
            of_run = run.encoded(row.chain_id)
            reasoning = of_run.reasoning_ids[: share * of_run.n_reasoning]
            assert row.input_ids.tolist() == [*of_run.prompt_ids, *reasoning, *of_run.answer_ids]


@pytest.mark.parametrize("keep_ratio", [0.3, 0.5, 0.7, 0.9])
def test_matched_by_chain_every_arm_keeps_as_many_tokens_of_each_chain(run, chain_ids, keep_ratio):
    lengths = {chain_id: run.encoded(chain_id).n_reasoning for chain_id in chain_ids}
    for strategy in PRUNED:
        kept = kept_of_arm(Orders(run), lengths, Arm(strategy=strategy, keep_ratio=keep_ratio))
        assert {chain_id: len(each) for chain_id, each in kept.items()} == {
            chain_id: max(1, int(keep_ratio * n + 0.5)) for chain_id, n in lengths.items()
        }


@pytest.mark.parametrize("keep_ratio", [0.3, 0.5, 0.7, 0.9])
def test_matched_by_the_mean_steps_stay_whole_and_the_set_is_as_long_up_to_one_step(run, chain_ids, keep_ratio):
    lengths = {chain_id: run.encoded(chain_id).n_reasoning for chain_id in chain_ids}
    kept = kept_of_arm(Orders(run), lengths, Arm(strategy=STEPS, keep_ratio=keep_ratio, matching="mean"))
    longest = 0
    for chain_id, positions in kept.items():
        path = run.path(chain_id, STEPS)
        sizes = np.bincount(path.unit)
        longest = max(longest, sizes.max())
        assert lengths[chain_id] - len(positions) in {0, *np.cumsum(sizes)}
    wanted, found = keep_ratio * sum(lengths.values()), sum(map(len, kept.values()))
    assert abs(found - wanted) <= longest


def test_a_set_of_text_is_tokenised_again_and_the_share_that_changes_is_counted(run, encoder, chain_ids):
    taught, arm = taught_chains(run, encoder, chain_ids, form="text"), Arm(strategy="random_tokens", keep_ratio=0.5)
    as_ids, as_text = (list(training_set(Orders(run), taught, arm, encoder, form=form)) for form in ("ids", "text"))
    for ids, text in zip(as_ids, as_text, strict=True):
        assert ids.is_changed_by_text == text.is_changed_by_text == (ids.input_ids.tolist() != text.input_ids.tolist())


def test_padding_is_neither_read_nor_predicted():
    batch = padded([{"input_ids": [5, 6, 7], "labels": [NOT_PREDICTED, 6, 7]}, {"input_ids": [8], "labels": [8]}])
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[NOT_PREDICTED, 6, 7], [8, NOT_PREDICTED, NOT_PREDICTED]]


def test_no_logits_are_made_of_what_all_prompts_share_and_the_loss_is_the_same(run, encoder, chain_ids, tiny_model_folder):
    rows = rows_of(run, encoder, chain_ids[:3])
    batch, model = padded(rows), load_model(str(tiny_model_folder)).model
    n_prompt = min(row["labels"].count(NOT_PREDICTED) for row in rows)
    assert batch["logits_to_keep"].tolist() == [*range(n_prompt - 1, batch["input_ids"].shape[1])]
    found = model(**batch)
    assert found.logits.shape[1] == batch["labels"].shape[1] == len(batch["logits_to_keep"])
    before = torch.full((3, n_prompt - 1), NOT_PREDICTED)
    whole = model(**{**batch, "labels": torch.cat([before, batch["labels"]], dim=1), "logits_to_keep": 0})
    assert found.loss.item() == pytest.approx(whole.loss.item(), rel=1e-6)


def test_an_order_that_was_not_measured_is_that_of_a_run_that_measured_it(run, chain_ids, tiny_model_folder):
    orders, label = Orders(run), "random_tokens:seed=0"
    orders.find([label], chain_ids, loaded=load_model(str(tiny_model_folder)), stages=Stages())
    for chain_id in chain_ids:
        assert orders.of(chain_id, label).deleted.tolist() == run.path(chain_id, "random_tokens").deleted.tolist()


def test_rows_of_one_seed_are_read_in_one_order_whatever_is_in_them():
    assert (
        order_of_rows(5, 12, seed=3).tolist() == order_of_rows(5, 12, seed=3).tolist() != order_of_rows(5, 12, seed=4).tolist()
    )
    assert sorted(order_of_rows(5, 10, seed=3).tolist()) == sorted([*range(5)] * 2)


def rows_of(run: Run, encoder: ChainEncoder, chain_ids: list[str]) -> list[dict[str, list[int]]]:
    taught = taught_chains(run, encoder, chain_ids, form="ids")
    rows = training_set(Orders(run), taught, Arm(strategy=FULL, keep_ratio=1.0), encoder, form="ids")
    return [{"input_ids": row.input_ids.tolist(), "labels": row.labels.tolist()} for row in rows]


class _KillsItself:
    """A stage that ends the process in the middle of a training, as a batch system does."""

    steps = 0

    def advance(self, steps: int = 1) -> None:
        self.steps += steps
        if self.steps >= 3:
            os.kill(os.getpid(), signal.SIGKILL)


def _train_and_die(spec, rows, folder):
    train(spec, rows, RECIPE, n_steps=6, seed=1, folder=folder, stage=_KillsItself())


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_weights(run, encoder, chain_ids, tiny_model_folder, tmp_path):
    spec, rows = ModelSpec(str(tiny_model_folder)), rows_of(run, encoder, chain_ids)
    whole = train(spec, rows, RECIPE, n_steps=6, seed=1, folder=tmp_path / "whole")
    process = multiprocessing.get_context("fork").Process(target=_train_and_die, args=(spec, rows, tmp_path / "killed"))
    torch.set_num_threads(1)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()] == ["checkpoint-2"]
    resumed = train(spec, rows, RECIPE, n_steps=6, seed=1, folder=tmp_path / "killed")
    assert (resumed.steps, resumed.supervised_tokens) == (whole.steps, whole.supervised_tokens) == (6, whole.supervised_tokens)
    weights, expected = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("killed", "whole"))
    assert max(float((weights[name] - expected[name]).abs().max()) for name in expected) < 1e-6
    assert not (tmp_path / "killed" / "checkpoints").exists()


@pytest.mark.slow
def test_processes_that_are_launched_together_train_one_student_to_the_same_weights(
    run, distilled, tiny_model_folder, asked_file, tmp_path
):
    recipe = [f"--{name.replace('_', '-')}={value}" for name, value in vars(RECIPE).items()]
    accelerate, program = (str(Path(sys.executable).with_name(name)) for name in ("accelerate", "reasoning-anatomy"))
    command = [
        *(accelerate, "launch", "--cpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no"),
        *("--dynamo_backend=no", "--num_cpu_threads_per_process=1", "--main_process_port=0"),
        *(program, "distill", str(run.folder), "--out", str(tmp_path / "two"), "--student"),
        *(str(tiny_model_folder), "--strategies", *PRUNED[:1], "--keep-ratios", "0.5", "--seeds", "1", "--no-answer-only"),
        "--no-untrained",
        *("--test", str(asked_file), "--temperature", "0", "--max-tokens", "4", "--gold-form", EXAMINATION.gold_form, *recipe),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("2 of 2 students have answered") == 1
    one, two = distilled.students, open_students(tmp_path / "two")
    assert len(two.answers()) == 2 * 3
    for student in two.manifest.students:
        weights, expected = (
            load_file(students.student_folder(student) / "adapter_model.safetensors") for students in (two, one)
        )
        assert max(float((weights[name] - expected[name]).abs().max()) for name in expected) < 1e-5
        assert two.trained().set_index("student").loc[student.label, "steps"] == 6


@pytest.mark.slow
def test_workers_make_the_students_of_one_process(run, distilled, tiny_model_folder, asked_file, call):
    recipe = [f"--{name.replace('_', '-')}={value}" for name, value in vars(RECIPE).items()]
    done = call(
        "distill", run.folder, "--out", "shared", "--student", tiny_model_folder, "--strategies", *PRUNED[:1],
        "--keep-ratios", "0.5", "--seeds", "1", "--test", asked_file, "--temperature", "0", "--max-tokens", "4",
        "--gold-form", EXAMINATION.gold_form, *recipe, "--processes", "2",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "4 of 4 students have answered, in shared" in done.out
    assert (done.out + done.err).count("Not taught: 1 chains (wrong)") == 1
    one, two = distilled.students, open_students("shared")
    expected = one.answers()
    expected = expected[expected["student"].isin([student.label for student in two.manifest.students])]
    assert two.answers().equals(expected.reset_index(drop=True))
    for student in two.manifest.students:
        if student.arm.strategy != UNTRAINED:
            paths = [students.student_folder(student) / "adapter_model.safetensors" for students in (one, two)]
            assert paths[0].read_bytes() == paths[1].read_bytes()


def test_processes_that_cannot_share_a_step_or_a_device_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ModelError, match=r"3 processes cannot share the 4 rows of a step"):
        Together("cpu", batch_size=4)
    with pytest.raises(ModelError, match=r"cannot share the device 'cuda:1'"):
        Together("cuda:1", batch_size=6)


def test_one_process_that_sees_several_gpus_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ModelError, match="2 GPUs are visible, and one process trains on one: set CUDA_VISIBLE_DEVICES"):
        Together("auto", batch_size=8)
    assert Together("cpu", batch_size=8).n == 1


@pytest.mark.parametrize("quantize", [None, "4bit"])
def test_what_is_counted_from_the_configuration_is_what_the_model_holds(run, encoder, chain_ids, tiny_model_folder, quantize):
    spec, rows = ModelSpec(str(tiny_model_folder), quantize=quantize), rows_of(run, encoder, chain_ids[:1])
    recipe = replace(RECIPE, rows_at_once=1)
    n_tokens, n_supervised = len(rows[0]["input_ids"]), sum(label != NOT_PREDICTED for label in rows[0]["labels"])
    counted = count_step(load_config(spec), spec, recipe, n_tokens, n_supervised)
    measured = measure_step(load_model(spec), spec, rows, recipe)
    assert (counted.trained, counted.optimiser) == (measured.trained, 12 * measured.trained)
    assert counted.weights == measured.weights
    assert counted.saved == pytest.approx(measured.saved, rel=0.1)


def test_moments_of_weights_in_bfloat16_are_in_bfloat16(tiny_model_folder):
    spec = ModelSpec(str(tiny_model_folder), dtype="bfloat16")
    cost = count_step(load_config(spec), spec, replace(RECIPE, method="full"), 8, 8)
    assert cost.optimiser == 6 * cost.trained


def test_a_student_is_foreseen_without_its_weights_and_without_writing(
    run, plan, distilled, tiny_model_folder, asked_file, tmp_path
):
    folder = tmp_path / "no weights"
    shutil.copytree(tiny_model_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    foreseen = foresee(run, plan, student=ModelSpec(str(folder)), recipe=RECIPE, taught=Taught(test=asked_file))
    trained = distilled.students.trained()
    assert (foreseen.n_students, foreseen.n_steps) == (len(trained), trained["steps"].sum())
    assert foreseen.left_out == {"wrong": 1}
    assert "To train: 7 students" in foreseen.in_words()


@pytest.mark.slow
def test_an_adapter_is_trained_on_weights_held_in_4_bits_and_all_weights_are_not(
    run, encoder, chain_ids, tiny_model_folder, tmp_path, capsys
):
    spec, rows = ModelSpec(str(tiny_model_folder), quantize="4bit"), rows_of(run, encoder, chain_ids)
    trained = train(spec, rows, RECIPE, n_steps=8, seed=0, folder=tmp_path / "student")
    first = train(spec, rows, RECIPE, n_steps=1, seed=0, folder=tmp_path / "begun")
    assert trained.loss < first.loss
    assert "'loss'" not in capsys.readouterr().out
    answering = load_model(ModelSpec(str(tmp_path / "student")))
    assert answering.quantization is None
    with pytest.raises(ModelError, match=r"weights held in 4bit cannot all be trained; train --method lora"):
        train(spec, rows, replace(RECIPE, method="full"), n_steps=1, seed=0, folder=tmp_path / "full")


@pytest.fixture(scope="module")
def plan() -> DistillationPlan:
    return DistillationPlan(strategies=PRUNED, keep_ratios=(0.5, 1.0), seeds=1, equal=("steps", "tokens"))


@pytest.fixture(scope="module")
def distilled(run, plan, tiny_model_folder, asked_file, tmp_path_factory):
    return distill(
        run, plan, out=tmp_path_factory.mktemp("students") / "all", student=ModelSpec(str(tiny_model_folder)), recipe=RECIPE,
        examination=EXAMINATION, taught=Taught(test=asked_file),
    )  # fmt: skip


def test_students_of_all_arms_are_taught_the_same_chains_and_answer_the_same_questions(distilled, plan):
    students = open_students(distilled.students.folder)
    assert distilled.left_out == {"wrong": 1}
    training = students.training().set_index(["strategy", "keep_ratio"])
    assert set(training["n_rows"]) == {12}
    assert training.loc[(FULL, 1.0), "achieved"] == 1
    assert training.loc[("random_tokens", 0.5), "tokens_kept"] == training.loc[(STEPS, 0.5), "tokens_kept"]
    answers = students.answers()
    assert tuple(answers.columns) == ANSWER_COLUMNS
    assert len(answers) == len(plan.students) * 3
    assert answers["nll_gold"].notna().all()
    assert set(answers["student"]) == {student.label for student in plan.students}


def test_students_are_equal_in_steps_or_in_tokens_and_both_are_stored(distilled):
    trained = distilled.students.trained().set_index("student")
    full = trained.loc["full, seed 0"]
    assert full["steps"] == 2 * 3
    for strategy in PRUNED:
        assert trained.loc[f"{strategy} at 0.5, seed 0", "steps"] == full["steps"]
        tokens = trained.loc[f"{strategy} at 0.5, as many tokens, seed 0", "supervised_tokens"]
        assert tokens == pytest.approx(full["supervised_tokens"], rel=0.15)


def test_a_student_that_was_taught_answers_otherwise_than_an_untrained_one(distilled):
    nll = distilled.students.answers().groupby("student")["nll_gold"].mean()
    assert nll["full, seed 0"] != pytest.approx(nll["untrained"], abs=0.1)


def test_what_is_there_is_not_made_again_and_another_recipe_is_refused(distilled, run, plan, tiny_model_folder, asked_file):
    folder = distilled.students.folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in {".safetensors", ".parquet"}}
    options = {"out": folder, "student": ModelSpec(str(tiny_model_folder)), "taught": Taught(test=asked_file)}
    distill(run, plan, recipe=RECIPE, examination=EXAMINATION, **options)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(RunError, match=r"another value of the recipe .*learning_rate=0.01"):
        distill(run, plan, recipe=replace(RECIPE, learning_rate=1e-3), examination=EXAMINATION, **options)


def test_a_strategy_that_is_not_measured_and_a_plan_without_one_are_refused(run, tiny_model_folder, tmp_path):
    with pytest.raises(MissingError, match=r"no strategy 'greedy' .*--strategies greedy"):
        distill(run, DistillationPlan(strategies=("greedy",)), out=tmp_path, student=ModelSpec(str(tiny_model_folder)))
    with pytest.raises(PluginError, match="no strategy is named"):
        DistillationPlan()
    with pytest.raises(PluginError, match=r"keep_ratio 1\.5"):
        DistillationPlan(strategies=("greedy",), keep_ratios=(1.5,))


def test_questions_that_are_asked_are_not_taught(run, encoder):
    held_back = questions_of(Orders(run), Taught(held_out=0.4), PRUNED, encoder, longest_row=2048)
    asked = {problem.question for problem in held_back.problems}
    taught = {run.chains[chain_id].question for chain_id in held_back.chain_ids}
    assert asked
    assert taught
    assert asked.isdisjoint(taught)
    assert asked | taught | {"Why?"} == {chain.question for chain in run.chains.values()}
    with pytest.raises(MissingError, match="is held back to be asked"):
        questions_of(Orders(run), Taught(held_out=0.0), PRUNED, encoder, longest_row=2048)


def test_a_row_that_is_too_long_is_left_out_of_every_set_and_counted(run, encoder, asked_file):
    lengths = sorted(len(run.encoded(chain_id).ids) for chain_id in run.chains if chain_id != "wrong")
    found = questions_of(Orders(run), Taught(test=asked_file), PRUNED, encoder, longest_row=lengths[-1] - 1)
    assert found.left_out["row_too_long"] == lengths.count(lengths[-1])


def test_nobody_has_answered_before_there_are_questions(make_students, tmp_path):
    students = make_students(tmp_path / "students", {Student(arm=Arm(strategy=FULL, keep_ratio=1.0)): {"q0": ("c", 3)}})
    assert students.n_answered == 1
    students.test_file.unlink()
    assert students.n_answered == 0


def test_an_answer_may_hold_any_line_break(make_students, tmp_path):
    student = Student(arm=Arm(strategy=FULL, keep_ratio=1.0))
    students = make_students(tmp_path / "students", {student: {"q0": ("c", 3)}})
    (row,) = students.answer_rows(student)
    text = "a\u2028b\x85c"
    students.answers_file(student).write_text(
        json.dumps({**row, "reasoning": text}, ensure_ascii=False) + "\n{", encoding="utf-8"
    )
    assert students.answers()["response"].tolist() == [f"{text}\n5"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_exported_rows_are_what_datasets_loads_and_trainers_of_ids_take(distilled, format, tmp_path):
    import datasets

    students, arm = distilled.students, Arm(strategy="random_tokens", keep_ratio=0.5)
    written = students.export(format, tmp_path / "sets")
    assert set(written) == {student.arm for student in students.manifest.students if student.arm.strategy != UNTRAINED}
    loader = {"parquet": "parquet", "jsonl": "json"}[format]
    rows = datasets.load_dataset(loader, data_files=str(written[arm]), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows.column_names == ["chain_id", "input_ids", "labels"]
    expected = students.rows(arm)
    for row, chain_id, ids, n_supervised in zip(
        rows, expected["chain_id"], expected["input_ids"], expected["n_supervised"], strict=True
    ):
        assert row["chain_id"] == chain_id
        assert row["input_ids"] == ids.tolist()
        assert row["labels"] == [NOT_PREDICTED] * (len(ids) - n_supervised) + ids[-n_supervised:].tolist()
    datasets.DatasetDict(train=rows).save_to_disk(tmp_path / "on_disk")
    assert datasets.load_from_disk(tmp_path / "on_disk")["train"][0] == rows[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_rows_are_exported_as_text_on_request(distilled, encoder, tmp_path):
    import datasets

    students = distilled.students
    whole = Arm(strategy=FULL, keep_ratio=1.0)
    file = students.export("jsonl", tmp_path / "sets", text=True)[whole]
    rows = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows.column_names == ["chain_id", "prompt", "completion"]
    taught = students.rows(whole).set_index("chain_id")
    for row in rows:
        text = encoder.tokenizer.decode(taught.loc[row["chain_id"], "input_ids"])
        assert row["prompt"] + row["completion"] == text
        assert row["prompt"].count(taught.loc[row["chain_id"], "question"]) == 1


@pytest.fixture
def planted(make_students, tmp_path):
    arms = [Arm(strategy=FULL, keep_ratio=1.0), Arm(strategy="greedy", keep_ratio=0.5)]
    return make_students(tmp_path / "students", {Student(arm=arm): {"q0": ("c", 3), "q1": ("w", 3)} for arm in arms}).folder


def test_the_command_exports_the_sets_of_students_and_says_what_text_changes(call, planted):
    done = call("export", planted, "--format", "parquet")
    assert (done.code, done.out.count("Wrote ")) == (0, 2)
    assert {path.suffix for path in (planted / "exports").iterdir()} == {".parquet"}
    done = call("export", planted, "--format", "jsonl", "--text", "--out", "texts")
    assert done.out.count("; 0.0% of its rows have other ids once their reasoning is tokenised again") == 2
    assert "give parquet or jsonl" in call("export", planted, "--format", "csv").err
    assert "leave out --strategy and --annotator" in call("export", planted, "--format", "jsonl", "--strategy", "greedy").err


def test_the_command_writes_a_page_of_students_and_runs_their_analysis_first(call, planted, run):
    done = call("report", planted)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("\ndistillation: ")
    assert done.out.endswith(f"Open the report: {planted / 'report.html'}\n")
    assert call("report", planted).out == f"Open the report: {planted / 'report.html'}\n"
    assert "holds students" in call("report", run.folder, planted).err
    assert "holds students" in call("view", planted).err


def test_a_dry_run_says_what_trainings_take_and_writes_nothing(call, run, tiny_model_folder, asked_file):
    done = call(
        "distill", run.folder, "--out", "students", "--student", tiny_model_folder, "--strategies", PRUNED[0], "--seeds", "2",
        "--keep-ratios", "0.5", "--test", asked_file, "--quantize", "4bit", "--dry-run",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Not taught: 1 chains (wrong)\nMemory of a training, its longest row of ")
    assert "To train: 6 students, " in done.out
    assert not Path("students").exists()


def commands_of(target: str) -> list[list[str]]:
    """Commands of a target of the Makefile, as words."""
    text = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)[1].replace("$(VENV)/bin/", "")
    return [shlex.split(line.strip().removeprefix("@")) for line in recipe.splitlines()]


def test_the_demonstration_runs_to_its_verdict_and_says_what_it_is(tiny_model_folder, call):
    """The commands of the Makefile, with fewer stories and a model of random weights."""
    fewer = {
        "run": ["--model", str(tiny_model_folder)],
        "distill": ["--student", str(tiny_model_folder), "--rank", "2", "--max-tokens", "4", "--processes", "1"],
        "reasoning_anatomy.distillation.arithmetic": ["--chains", "8", "--test", "3"],
    }
    printed = []
    for program, *words in commands_of("distill"):
        if program == "echo":
            printed += words
        elif program == "python" and words[1] in fewer:
            tyro.cli(arithmetic.main, args=[*words[2:], *fewer[words[1]]])
        else:
            done = call(*words[2:], module=words[1]) if program == "python" else call(*words, *fewer[words[0]])
            assert done.code == 0, done.err
            assert "'loss'" not in done.out
            printed.append(done.out)
    assert open_students("runs/students").n_answered == 6
    assert "random_tokens at 0.5" in printed[-2]
    assert "demonstration" in printed[-1]
