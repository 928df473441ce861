"""Where the wall time of actor-critic training goes, and its updates beside TRL's.

python benchmarks/training_speed.py                 # both tables
python benchmarks/training_speed.py --parts shares --world cmat/DB-v0 --tail 64

The first table is a real run on a builtin world: iterations a minute, and the share of the time outside the model,
which is everything but sampling (`generate`), forward passes with their losses, and backward passes.

The second feeds the turns of one rollout to our update and to TRL's GRPOTrainer, in turns: the same model and LoRA, the
same rows and tokens, epochs, minibatches, clip and entropy bonus, no KL. TRL's own loop runs as it is; only its
sampling is replaced by those rows.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from cmat_gym.policies import lora
from cmat_gym.policies.backbone import AdapterSettings, Backbone
from cmat_gym.policies.base_models import load_base_model
from cmat_gym.policies.lora import LoRAPolicy
from cmat_gym.policies.value_head import ValueHead
from cmat_gym.trainers import learner
from cmat_gym.trainers.actor_critic_config import ActorCriticConfig
from cmat_gym.trainers.actor_critic_trainer import ActorCriticTrainer
from cmat_gym.trainers.batches import Row, collate

MODEL = ("generate", "forward", "loss", "backward")
FIRST = 2  # iterations that warm caches and allocators up, and are not counted


class Stopwatch:
    """Wall time by name. What is timed inside another thing counts for the outer one alone."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running = False

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._running:
                return function(*args, **kwargs)
            self._running, start = True, now()
            try:
                return function(*args, **kwargs)
            finally:
                self._running = False
                self.seconds[name] += now() - start

        return call

    @contextmanager
    def watching(self, trainer: ActorCriticTrainer) -> Iterator[None]:
        """Time the parts of a trainer."""
        parts = [
            ("generate", lora, "generate"), ("forward", Backbone, "forward"), ("forward", Backbone, "read_page"),
            ("forward", ValueHead, "forward"), ("forward", ValueHead, "judge"),
            ("backward", torch.autograd, "backward"), ("optimizer", torch.optim.AdamW, "step"),
            ("loss", learner, "log_probabilities"), ("loss", learner, "policy_terms"), ("loss", learner, "entropy_of"),
            ("loss", learner, "value_loss"), ("loss", learner, "kl_to_reference"),
            ("clipping", torch.nn.utils, "clip_grad_norm_"),
            ("worlds", trainer.collector, "_step"), ("tensors of rows", learner, "collate"),
            ("drift counter", learner, "count_drift"), ("prompts to tokens", lora.LoRAPolicy, "prompt_ids"),
            ("tokens to text", lora.LoRAPolicy, "text"),
        ]  # fmt: skip
        with ExitStack() as stack:
            for name, owner, attribute in parts:
                timed = self.timed(name, getattr(owner, attribute))
                stack.enter_context(mock.patch.object(owner, attribute, timed))
            yield


def now() -> float:
    """The clock, after what a GPU still had to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def make_trainer(options: argparse.Namespace, folder: str, **settings: Any) -> ActorCriticTrainer:
    """A trainer with the defaults of `cmat-gym train`, but for what is given."""
    policy = LoRAPolicy(options.model, adapter=AdapterSettings(tail=options.tail))
    args = ActorCriticConfig(output_dir=folder, iterations=FIRST + options.iterations, **settings)
    return ActorCriticTrainer(policy, options.world, args, env_kwargs={"split": "train"})


class _Laps(TrainerCallback):  # type: ignore[misc]
    """Starts the stopwatch after the first iterations and notes when each ends."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.stopwatch = stopwatch
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An iteration is over, its log aside."""
        if state.global_step <= FIRST:
            self.ends, self.stopwatch.seconds = [], defaultdict(float)
        self.ends.append(now())


def shares(options: argparse.Namespace) -> None:
    """The first table."""
    stopwatch = Stopwatch()
    laps = _Laps(stopwatch)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(options, folder)
        trainer.add_callback(laps)
        with stopwatch.watching(trainer):
            trainer.train()
    total = laps.ends[-1] - laps.ends[0]
    spent = dict(stopwatch.seconds)
    spent["everything else"] = total - sum(spent.values())
    print(f"{options.world}, {options.model}, tail {options.tail}, {options.iterations} iterations of 256 turns")
    for name, seconds in sorted(spent.items(), key=lambda item: (item[0] not in MODEL, -item[1])):
        print(f"  {name:40}{seconds / options.iterations:10.3f} s{seconds / total:10.1%}")
    outside = 1 - sum(spent.get(name, 0.0) for name in MODEL) / total
    print(f"{'outside the model (target <= 10 %)':52}{outside:11.1%}")
    print(f"{'iterations a minute':52}{60 * options.iterations / total:11.1f}")


class _OnGivenRows(GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer with its sampling replaced: every step gets the next of the given batches."""

    batches: Sequence[dict[str, torch.Tensor]] = ()
    taken = 0

    def _send_telemetry(self) -> None:
        return None

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, torch.Tensor]:
        self.taken += 1
        return self.batches[(self.taken - 1) % len(self.batches)]


class Lap(NamedTuple):
    """Seconds of wall time, and of CPU time, which does not suffer from busy neighbours."""

    wall: float
    cpu: float

    @classmethod
    def mark(cls) -> Lap:
        """The clocks as they stand."""
        return cls(now(), time.process_time())

    def since(self, start: Lap) -> Lap:
        """What has passed."""
        return Lap(self.wall - start.wall, self.cpu - start.cpu)


class _TrainingTime(TrainerCallback):  # type: ignore[misc]
    """The time of TRL's loop without setting it up."""

    start = lap = Lap(0.0, 0.0)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The first step comes next."""
        self.start = Lap.mark()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One more optimizer step."""
        self.lap = Lap.mark().since(self.start)


def trl_trainer(options: argparse.Namespace, rows: Sequence[Row], args: ActorCriticConfig, folder: str) -> Any:
    """GRPOTrainer over the rows in minibatches as large as ours."""
    base = load_base_model(options.model)
    steps = args.epochs * len(rows) // args.minibatch_turns
    config = GRPOConfig(
        output_dir=folder, report_to="none", bf16=False, use_cpu=not torch.cuda.is_available(), save_strategy="no",
        disable_tqdm=True, gradient_checkpointing=False, logging_strategy="no", max_steps=steps, beta=0.0,
        per_device_train_batch_size=args.minibatch_turns, num_generations=2, num_iterations=args.epochs,
        steps_per_generation=len(rows) // args.minibatch_turns, loss_type="dr_grpo", epsilon=args.clip_range,
        entropy_coef=args.entropy_coef, max_completion_length=args.max_new_tokens, learning_rate=args.learning_rate,
        lr_scheduler_type="constant",
    )  # fmt: skip
    clock = _TrainingTime()
    trainer = _OnGivenRows(
        model=base.model, processing_class=base.tokenizer, args=config, peft_config=AdapterSettings().lora_config(),
        reward_funcs=lambda completions, **_: [0.0] * len(completions), callbacks=[clock],
        train_dataset=Dataset.from_list([{"prompt": "x"}] * len(rows)),
    )  # fmt: skip
    minibatches = [rows[i : i + args.minibatch_turns] for i in range(0, len(rows), args.minibatch_turns)]
    tensors = [collate(part, base.tokenizer.pad_token_id, trainer.model.device) for part in minibatches]
    trainer.batches = [
        {
            "prompt_ids": batch.ids[:, : -batch.actions.shape[1]], "completion_ids": batch.actions,
            "prompt_mask": batch.mask[:, : -batch.actions.shape[1]], "completion_mask": batch.action_mask.long(),
            "advantages": batch.advantages, "old_per_token_logps": batch.old_logprobs,
        }
        for batch in tensors
    ]  # fmt: skip
    return trainer, clock


def beside_trl(options: argparse.Namespace) -> None:
    """The second table."""
    with tempfile.TemporaryDirectory() as folder:
        ours = make_trainer(
            options,
            folder,
            kl_coef=0.0,
            num_envs=8,
            turns_per_env=options.turns // 8,
            minibatch_turns=options.turns // 4,
        )
        rows, _ = ours.play()
        tokens = ours.args.epochs * sum(row.length for row in rows)
        theirs, clock = trl_trainer(options, rows, ours.args, folder)
        laps: dict[str, list[Lap]] = {"cmat-gym": [], "TRL's GRPOTrainer": []}
        ours.learner.update_actor(rows)
        theirs.train()
        for _ in range(options.rounds):
            start = Lap.mark()
            ours.learner.update_actor(rows)
            laps["cmat-gym"].append(Lap.mark().since(start))
            theirs.train()
            laps["TRL's GRPOTrainer"].append(clock.lap)
    print(f"\nupdates on {len(rows)} equal turns, {tokens:,} tokens with all epochs")
    print(f"  {'':28}{'wall s':>10}{'tokens/s':>12}{'CPU s':>10}{'tokens/s':>12}")
    for side, taken in laps.items():
        wall, cpu = (statistics.median(getattr(lap, name) for lap in taken) for name in Lap._fields)
        print(f"  {side:28}{wall:10.2f}{tokens / wall:12,.0f}{cpu:10.2f}{tokens / cpu:12,.0f}")


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="cmat/WebShop-v0")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--tail", type=int, help="tokens from which on LoRA is active; by default all")
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--turns", type=int, default=64, help="turns of the comparison, a multiple of 8")
    parser.add_argument("--rounds", type=int, default=3, help="updates of each side of the comparison")
    parser.add_argument("--parts", nargs="+", choices=("shares", "trl"), default=["shares", "trl"])
    options = parser.parse_args()
    if "shares" in options.parts:
        shares(options)
    if "trl" in options.parts:
        beside_trl(options)


if __name__ == "__main__":
    main()
